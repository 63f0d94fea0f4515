package commandprovider

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	p "github.com/pulumi/pulumi-go-provider"
)

// capture keeps what a command prints: each stream for the outputs, both in their order for an error,
// and shows it line by line while the command runs.
type capture struct {
	mu             sync.Mutex
	stdout, stderr bytes.Buffer
	combined       bytes.Buffer
	lines          []*lineLogger
}

func (c *capture) writer(ctx context.Context, own *bytes.Buffer, show bool) io.Writer {
	w := &captureWriter{capture: c, own: own}
	if show {
		w.log = &lineLogger{log: p.GetLogger(ctx).InfoStatus}
		c.lines = append(c.lines, w.log)
	}
	return w
}

// finish shows what was left without a newline and returns the outputs.
func (c *capture) finish() streamOutputs {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		l.flush()
	}
	return streamOutputs{
		Stdout: strings.TrimSuffix(c.stdout.String(), "\n"),
		Stderr: strings.TrimSuffix(c.stderr.String(), "\n"),
	}
}

// failure is the error of a command that ran and failed: what, why, and all it printed.
func (c *capture) failure(command string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Errorf("%w: running %q:\n%s", err, command, c.combined.String())
}

type captureWriter struct {
	*capture
	own *bytes.Buffer
	log *lineLogger
}

func (w *captureWriter) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.own.Write(data)
	w.combined.Write(data)
	if w.log != nil {
		w.log.add(data)
	}
	return len(data), nil
}

// lineLogger cuts a stream into lines. A bufio.Scanner would stop, and with it the command, at a line
// over 64 kB.
type lineLogger struct {
	log     func(string)
	partial []byte
}

func (l *lineLogger) add(data []byte) {
	l.partial = append(l.partial, data...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			return
		}
		l.log(string(bytes.TrimSuffix(l.partial[:end], []byte("\r"))))
		l.partial = l.partial[end+1:]
	}
}

func (l *lineLogger) flush() {
	if len(l.partial) > 0 {
		l.log(string(l.partial))
		l.partial = nil
	}
}
