package commandprovider

import "github.com/pulumi/pulumi-go-provider/infer"

// Logging says which of a command's streams are shown while it runs. Both are outputs in any case.
type Logging string

const (
	LogStdout          Logging = "stdout"
	LogStderr          Logging = "stderr"
	LogStdoutAndStderr Logging = "stdoutAndStderr"
	LogNone            Logging = "none"
)

// Values tells the schema (and so Check) what is allowed.
func (Logging) Values() []infer.EnumValue[Logging] {
	return []infer.EnumValue[Logging]{
		{Name: "stdout", Value: LogStdout, Description: "Show stdout, not stderr"},
		{Name: "stderr", Value: LogStderr, Description: "Show stderr, not stdout"},
		{Name: "stdoutAndStderr", Value: LogStdoutAndStderr, Description: "Show both"},
		{Name: "none", Value: LogNone, Description: "Show neither"},
	}
}

func (l *Logging) stdout() bool { return l == nil || *l == LogStdout || *l == LogStdoutAndStderr }
func (l *Logging) stderr() bool { return l == nil || *l == LogStderr || *l == LogStdoutAndStderr }

// lifecycleInputs are the commands of a resource's life, local or remote.
type lifecycleInputs struct {
	Create   *string `pulumi:"create,optional"`
	Update   *string `pulumi:"update,optional"`
	Delete   *string `pulumi:"delete,optional"`
	Triggers *[]any  `pulumi:"triggers,optional" provider:"replaceOnChanges"`
}

// onUpdate is the command that a change of inputs runs, if any.
func (in lifecycleInputs) onUpdate() *string {
	if in.Update != nil {
		return in.Update
	}
	return in.Create
}

// streamOutputs are what a command printed, each without its last newline.
type streamOutputs struct {
	Stdout string `pulumi:"stdout"`
	Stderr string `pulumi:"stderr"`
}

// previousOutput is what a command sees of the run before it, unless it asked not to.
func previousOutput(wanted *bool, out streamOutputs) map[string]string {
	env := map[string]string{}
	if wanted != nil && !*wanted {
		return env
	}
	if out.Stdout != "" {
		env["PULUMI_COMMAND_STDOUT"] = out.Stdout
	}
	if out.Stderr != "" {
		env["PULUMI_COMMAND_STDERR"] = out.Stderr
	}
	return env
}
