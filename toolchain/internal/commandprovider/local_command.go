package commandprovider

import (
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// LocalCommand is command:local:Command, a command in the life of a stack.
type LocalCommand struct{}

// LocalCommandInputs are its inputs.
type LocalCommandInputs struct {
	lifecycleInputs
	localInputs
}

// LocalCommandState is its state.
type LocalCommandState struct {
	LocalCommandInputs
	localOutputs
}

func (c *LocalCommand) Annotate(a infer.Annotator) { a.SetToken("local", "Command") }

// Create runs the create command, if there is one. In a preview infer makes the outputs unknown.
func (*LocalCommand) Create(
	ctx context.Context, req infer.CreateRequest[LocalCommandInputs],
) (infer.CreateResponse[LocalCommandState], error) {
	resp := infer.CreateResponse[LocalCommandState]{Output: LocalCommandState{LocalCommandInputs: req.Inputs}}
	var err error
	if resp.ID, err = resource.NewUniqueHex(req.Name, 8, 0); err != nil {
		return resp, err
	}
	if !req.DryRun && req.Inputs.Create != nil {
		resp.Output.localOutputs, err = execute(ctx, *req.Inputs.Create, req.Inputs.localInputs, localOutputs{})
	}
	return resp, err
}

// Update runs the update command, or create again where there is none.
func (*LocalCommand) Update(
	ctx context.Context, req infer.UpdateRequest[LocalCommandInputs, LocalCommandState],
) (infer.UpdateResponse[LocalCommandState], error) {
	state := LocalCommandState{LocalCommandInputs: req.Inputs, localOutputs: req.State.localOutputs}
	command := req.Inputs.onUpdate()
	var err error
	if !req.DryRun && command != nil {
		state.localOutputs, err = execute(ctx, *command, req.Inputs.localInputs, req.State.localOutputs)
	}
	return infer.UpdateResponse[LocalCommandState]{Output: state}, err
}

// Delete runs the delete command, if there is one.
func (*LocalCommand) Delete(
	ctx context.Context, req infer.DeleteRequest[LocalCommandState],
) (infer.DeleteResponse, error) {
	if req.State.Delete == nil {
		return infer.DeleteResponse{}, nil
	}
	_, err := execute(ctx, *req.State.Delete, req.State.localInputs, req.State.localOutputs)
	return infer.DeleteResponse{}, err
}
