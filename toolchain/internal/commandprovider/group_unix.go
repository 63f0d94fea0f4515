package commandprovider

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// runGroup runs a command in a process group of its own, so that a cancelled run takes with it what the
// command started. SIGTERM comes first: `docker run` passes it on, shells run their traps.
func runGroup(ctx context.Context, cmd *exec.Cmd) error {
	// Go's exec.CommandContext would kill the shell alone and then wait for its children's pipes.
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		signalGroup(cmd, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(cancelGrace):
			signalGroup(cmd, syscall.SIGKILL)
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-stopped
	if ctx.Err() != nil {
		// Even if the command ended well: it was told to stop, so it may not have done its work.
		return errors.Join(ctx.Err(), err)
	}
	return err
}

func signalGroup(cmd *exec.Cmd, signal syscall.Signal) {
	// ESRCH: the group is gone already.
	_ = syscall.Kill(-cmd.Process.Pid, signal)
}
