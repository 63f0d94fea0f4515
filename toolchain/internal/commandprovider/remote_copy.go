package commandprovider

import (
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// CopyToRemote is command:remote:CopyToRemote, a file or a directory on another host. Nothing removes
// the copy when the resource goes: the official one leaves it too.
type CopyToRemote struct{}

// CopyToRemoteInputs are its inputs.
type CopyToRemoteInputs struct {
	Connection *Connection          `pulumi:"connection" provider:"secret"`
	Source     types.AssetOrArchive `pulumi:"source"`
	RemotePath string               `pulumi:"remotePath"`
	Triggers   *[]any               `pulumi:"triggers,optional" provider:"replaceOnChanges"`
}

// CopyToRemoteState is its state.
type CopyToRemoteState struct {
	CopyToRemoteInputs
}

func (c *CopyToRemote) Annotate(a infer.Annotator) { a.SetToken("remote", "CopyToRemote") }

// Check refuses what cannot be copied: an asset from the net or an archive put together in memory.
func (*CopyToRemote) Check(
	ctx context.Context, req infer.CheckRequest,
) (infer.CheckResponse[CopyToRemoteInputs], error) {
	inputs, failures, err := infer.DefaultCheck[CopyToRemoteInputs](ctx, req.NewInputs)
	if err == nil && len(failures) == 0 {
		failures = sourceFailures(inputs.Source)
	}
	return infer.CheckResponse[CopyToRemoteInputs]{Inputs: inputs, Failures: failures}, err
}

// Create copies.
func (*CopyToRemote) Create(
	ctx context.Context, req infer.CreateRequest[CopyToRemoteInputs],
) (infer.CreateResponse[CopyToRemoteState], error) {
	resp := infer.CreateResponse[CopyToRemoteState]{Output: CopyToRemoteState{req.Inputs}}
	var err error
	if resp.ID, err = resource.NewUniqueHex("", 8, 0); err == nil && !req.DryRun {
		err = copySource(ctx, req.Inputs.Connection, req.Inputs.Source, req.Inputs.RemotePath)
	}
	return resp, err
}

// Update copies again.
func (*CopyToRemote) Update(
	ctx context.Context, req infer.UpdateRequest[CopyToRemoteInputs, CopyToRemoteState],
) (infer.UpdateResponse[CopyToRemoteState], error) {
	var err error
	if !req.DryRun {
		err = copySource(ctx, req.Inputs.Connection, req.Inputs.Source, req.Inputs.RemotePath)
	}
	return infer.UpdateResponse[CopyToRemoteState]{Output: CopyToRemoteState{req.Inputs}}, err
}

// CopyFile is command:remote:CopyFile, the deprecated forerunner of CopyToRemote.
type CopyFile struct{}

// CopyFileInputs are its inputs.
type CopyFileInputs struct {
	Connection *Connection `pulumi:"connection" provider:"secret"`
	LocalPath  string      `pulumi:"localPath"`
	RemotePath string      `pulumi:"remotePath"`
	Triggers   *[]any      `pulumi:"triggers,optional" provider:"replaceOnChanges"`
}

// CopyFileState is its state.
type CopyFileState struct {
	CopyFileInputs
}

func (c *CopyFile) Annotate(a infer.Annotator) { a.SetToken("remote", "CopyFile") }

// Create copies. A change of inputs replaces: there is no Update.
func (*CopyFile) Create(
	ctx context.Context, req infer.CreateRequest[CopyFileInputs],
) (infer.CreateResponse[CopyFileState], error) {
	resp := infer.CreateResponse[CopyFileState]{Output: CopyFileState{req.Inputs}}
	var err error
	if resp.ID, err = resource.NewUniqueHex("", 8, 0); err == nil && !req.DryRun {
		err = copyPath(ctx, req.Inputs.Connection, req.Inputs.LocalPath, req.Inputs.RemotePath)
	}
	return resp, err
}
