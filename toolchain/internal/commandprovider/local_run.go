package commandprovider

import (
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
)

// LocalRun is command:local:run, a command that every run of the program runs, previews too.
type LocalRun struct{}

// LocalRunInputs are its inputs.
type LocalRunInputs struct {
	localInputs
	Command string `pulumi:"command"`
}

// LocalRunOutputs are its result: the inputs again, and what the command left.
type LocalRunOutputs struct {
	LocalRunInputs
	localOutputs
}

func (r *LocalRun) Annotate(a infer.Annotator) { a.SetToken("local", "run") }

// Invoke runs the command.
func (*LocalRun) Invoke(
	ctx context.Context, req infer.FunctionRequest[LocalRunInputs],
) (infer.FunctionResponse[LocalRunOutputs], error) {
	out, err := execute(ctx, req.Input.Command, req.Input.localInputs, localOutputs{})
	return infer.FunctionResponse[LocalRunOutputs]{
		Output: LocalRunOutputs{LocalRunInputs: req.Input, localOutputs: out},
	}, err
}
