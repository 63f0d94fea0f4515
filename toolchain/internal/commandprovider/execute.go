package commandprovider

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// What a cancelled command gets to clean up in before it's killed.
const cancelGrace = 10 * time.Second

// localInputs are the inputs that a resource and a function share.
type localInputs struct {
	Interpreter            *[]string          `pulumi:"interpreter,optional"`
	Dir                    *string            `pulumi:"dir,optional"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
	AssetPaths             *[]string          `pulumi:"assetPaths,optional"`
	ArchivePaths           *[]string          `pulumi:"archivePaths,optional"`
}

// localOutputs are what a local command leaves behind.
type localOutputs struct {
	streamOutputs
	Assets  *map[string]types.AssetOrArchive `pulumi:"assets,optional"`
	Archive *resource.Archive                `pulumi:"archive,optional"`
}

// execute runs a command on this machine; previous is what the run before it left.
func execute(ctx context.Context, command string, in localInputs, previous localOutputs) (localOutputs, error) {
	args := []string{"/bin/sh", "-c"}
	if in.Interpreter != nil && len(*in.Interpreter) > 0 {
		args = *in.Interpreter
	}
	dir, err := os.Getwd()
	if in.Dir != nil {
		dir, err = *in.Dir, nil
	}
	if err == nil {
		// Starting the command would fail too, and blame the interpreter.
		_, err = os.Stat(dir)
	}
	if err != nil {
		return localOutputs{}, fmt.Errorf("cannot run in this directory: %w", err)
	}

	cmd := exec.Command(args[0], append(args[1:len(args):len(args)], command)...)
	cmd.Dir = dir
	cmd.Env = environment(in, previous.streamOutputs)
	if in.Stdin != nil && *in.Stdin != "" {
		cmd.Stdin = strings.NewReader(*in.Stdin)
	}
	captured := &capture{}
	cmd.Stdout = captured.writer(ctx, &captured.stdout, in.Logging.stdout())
	cmd.Stderr = captured.writer(ctx, &captured.stderr, in.Logging.stderr())

	if err := runGroup(ctx, cmd); err != nil {
		captured.finish()
		return localOutputs{}, captured.failure(command, err)
	}
	out := localOutputs{streamOutputs: captured.finish()}
	return out, out.collect(dir, in)
}

// environment is this process's own, then the previous output, then what the program asked for: the
// last of equal names wins.
func environment(in localInputs, previous streamOutputs) []string {
	env := os.Environ()
	for name, value := range previousOutput(in.AddPreviousOutputInEnv, previous) {
		env = append(env, name+"="+value)
	}
	if in.Environment != nil {
		for name, value := range *in.Environment {
			env = append(env, name+"="+value)
		}
	}
	return env
}
