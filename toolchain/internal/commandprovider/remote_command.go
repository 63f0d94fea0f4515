package commandprovider

import (
	"context"
	"fmt"
	"strings"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"golang.org/x/crypto/ssh"
)

// RemoteCommand is command:remote:Command, a command on another host in the life of a stack.
type RemoteCommand struct{}

type remoteInputs struct {
	Connection             *Connection        `pulumi:"connection" provider:"secret"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
}

// RemoteCommandInputs are its inputs.
type RemoteCommandInputs struct {
	lifecycleInputs
	remoteInputs
}

// RemoteCommandState is its state.
type RemoteCommandState struct {
	RemoteCommandInputs
	streamOutputs
}

func (c *RemoteCommand) Annotate(a infer.Annotator) { a.SetToken("remote", "Command") }

// Create runs the create command, if there is one.
func (*RemoteCommand) Create(
	ctx context.Context, req infer.CreateRequest[RemoteCommandInputs],
) (infer.CreateResponse[RemoteCommandState], error) {
	resp := infer.CreateResponse[RemoteCommandState]{Output: RemoteCommandState{RemoteCommandInputs: req.Inputs}}
	var err error
	if resp.ID, err = resource.NewUniqueHex(req.Name, 8, 0); err != nil {
		return resp, err
	}
	if !req.DryRun && req.Inputs.Create != nil {
		resp.Output.streamOutputs, err = executeRemote(ctx, *req.Inputs.Create, req.Inputs.remoteInputs, streamOutputs{})
	}
	return resp, err
}

// Update runs the update command, or create again where there is none.
func (*RemoteCommand) Update(
	ctx context.Context, req infer.UpdateRequest[RemoteCommandInputs, RemoteCommandState],
) (infer.UpdateResponse[RemoteCommandState], error) {
	state := RemoteCommandState{RemoteCommandInputs: req.Inputs, streamOutputs: req.State.streamOutputs}
	command := req.Inputs.onUpdate()
	var err error
	if !req.DryRun && command != nil {
		state.streamOutputs, err = executeRemote(ctx, *command, req.Inputs.remoteInputs, req.State.streamOutputs)
	}
	return infer.UpdateResponse[RemoteCommandState]{Output: state}, err
}

// Delete runs the delete command, if there is one.
func (*RemoteCommand) Delete(
	ctx context.Context, req infer.DeleteRequest[RemoteCommandState],
) (infer.DeleteResponse, error) {
	if req.State.Delete == nil {
		return infer.DeleteResponse{}, nil
	}
	_, err := executeRemote(ctx, *req.State.Delete, req.State.remoteInputs, req.State.streamOutputs)
	return infer.DeleteResponse{}, err
}

func executeRemote(
	ctx context.Context, command string, in remoteInputs, previous streamOutputs,
) (streamOutputs, error) {
	client, err := in.Connection.dial(ctx)
	if err != nil {
		return streamOutputs{}, err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return streamOutputs{}, err
	}
	defer session.Close()

	if err := setRemoteEnvironment(ctx, session, in, previous); err != nil {
		return streamOutputs{}, err
	}
	if in.Stdin != nil && *in.Stdin != "" {
		session.Stdin = strings.NewReader(*in.Stdin)
	}
	captured := &capture{}
	session.Stdout = captured.writer(ctx, &captured.stdout, in.Logging.stdout())
	session.Stderr = captured.writer(ctx, &captured.stderr, in.Logging.stderr())

	stop := context.AfterFunc(ctx, func() {
		_ = session.Signal(ssh.SIGTERM)
		time.Sleep(cancelGrace)
		client.Close()
	})
	defer stop()
	if err := session.Run(command); err != nil {
		captured.finish()
		return streamOutputs{}, captured.failure(command, err)
	}
	return captured.finish(), ctx.Err()
}

// setRemoteEnvironment asks the server for variables, which sshd refuses unless AcceptEnv names them.
// Those that the program set must be there; the previous output is sent on the off chance.
func setRemoteEnvironment(ctx context.Context, session *ssh.Session, in remoteInputs, previous streamOutputs) error {
	for name, value := range previousOutput(in.AddPreviousOutputInEnv, previous) {
		if err := session.Setenv(name, value); err != nil {
			p.GetLogger(ctx).Debugf("the server does not accept %s: %v", name, err)
		}
	}
	if in.Environment == nil {
		return nil
	}
	for name, value := range *in.Environment {
		if err := session.Setenv(name, value); err != nil {
			return fmt.Errorf("the server does not accept the variable %s (AcceptEnv in sshd_config must name it): %w", name, err)
		}
	}
	return nil
}
