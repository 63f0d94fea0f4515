package commandprovider_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/archive"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/asset"

	. "togather.example/toolchain/internal/providertest"
)

const remoteCommand = "command:remote:Command"

func (s sshServer) connection(more map[string]any) map[string]any {
	connection := map[string]any{"host": "127.0.0.1", "port": float64(s.port), "user": "test", "dialErrorLimit": 0.0}
	for name, value := range more {
		connection[name] = value
	}
	return connection
}

func TestRemoteCommand(t *testing.T) {
	s, host := start(t), startSSH(t)
	inputs := map[string]any{
		"connection":  host.connection(map[string]any{"privateKey": host.privateKey, "hostKey": host.hostKey}),
		"create":      "echo out $ALLOWED; echo err >&2; cat",
		"update":      `echo "was $PULUMI_COMMAND_STDERR"`,
		"stdin":       "from stdin",
		"environment": map[string]any{"ALLOWED": "yes"},
	}
	r := s.Create(t, remoteCommand, "c", Props(inputs))
	expect(t, r.Outputs, "stdout", "out yes\nfrom stdin")
	expect(t, r.Outputs, "stderr", "err")
	if !strings.Contains(s.Shown(), "out yes") {
		t.Error("the output was not shown")
	}
	if !r.Outputs["connection"].IsSecret() {
		t.Error("the connection with its private key is plain in the state")
	}
	s.Update(t, r, Props(inputs))
	expect(t, r.Outputs, "stdout", "was err")
	s.Delete(t, r)

	inputs["create"] = "echo broken; exit 4"
	_, err := s.TryCreate(t, remoteCommand, "fails", Props(inputs))
	if err == nil || !strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "status 4") {
		t.Errorf("the error is %v: want status and output", err)
	}
}

func TestRemoteRefusals(t *testing.T) {
	s, host := start(t), startSSH(t)
	create := func(connection map[string]any, environment map[string]any) error {
		_, err := s.TryCreate(t, remoteCommand, "c", Props(map[string]any{
			"connection": connection, "create": "true", "environment": environment,
		}))
		return err
	}
	good := map[string]any{"password": sshPassword}
	if err := create(host.connection(good), nil); err != nil {
		t.Error(err)
	}
	if err := create(host.connection(map[string]any{"password": "wrong"}), nil); err == nil {
		t.Error("a wrong password is no error")
	}
	other := startSSH(t)
	if err := create(host.connection(map[string]any{"password": sshPassword, "hostKey": other.hostKey}), nil); err == nil {
		t.Error("another host's key is no error")
	}
	if err := create(host.connection(good), map[string]any{"REFUSED": "x"}); err == nil || !strings.Contains(err.Error(), "AcceptEnv") {
		t.Errorf("a variable that the server refuses gives %v", err)
	}
}

func TestThroughABastionHost(t *testing.T) {
	s, host, bastion := start(t), startSSH(t), startSSH(t)
	create := func(bastionPassword string) error {
		_, err := s.TryCreate(t, remoteCommand, "c", Props(map[string]any{
			"connection": host.connection(map[string]any{
				"password": sshPassword,
				"proxy":    bastion.connection(map[string]any{"password": bastionPassword}),
			}),
			"create": "true",
		}))
		return err
	}
	if err := create(sshPassword); err != nil {
		t.Error(err)
	}
	if err := create("wrong"); err == nil {
		t.Error("the bastion host was not asked")
	}
}

func TestCopyToRemote(t *testing.T) {
	s, host := start(t), startSSH(t)
	from, to := t.TempDir(), t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(from, name)
		_ = os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name, want string) {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(to, name)); string(text) != want {
			t.Errorf("%s holds %q (%v), want %q", name, text, err, want)
		}
	}
	write("dir/run.sh", "#!", 0o755)
	write("dir/deep/a", "a", 0o644)
	inputs := func(source resource.PropertyValue, path string) resource.PropertyMap {
		props := Props(map[string]any{
			"connection": host.connection(map[string]any{"password": sshPassword}), "remotePath": filepath.Join(to, path),
		})
		props["source"] = source
		return props
	}
	file, _ := asset.FromPath(filepath.Join(from, "dir/deep/a"))
	text, _ := asset.FromText("text")
	directory, _ := archive.FromPath(filepath.Join(from, "dir"))

	r := s.Create(t, "command:remote:CopyToRemote", "file", inputs(resource.NewProperty(file), "new/parents/b"))
	read("new/parents/b", "a")
	s.Create(t, "command:remote:CopyToRemote", "text", inputs(resource.NewProperty(text), "text"))
	read("text", "text")
	s.Create(t, "command:remote:CopyToRemote", "dir", inputs(resource.NewProperty(directory), ""))
	read("dir/deep/a", "a")
	if info, err := os.Stat(filepath.Join(to, "dir/run.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the mode of a copied file: %v, %v", info, err)
	}

	write("dir/deep/a", "changed", 0o644)
	file, _ = asset.FromPath(filepath.Join(from, "dir/deep/a"))
	s.Update(t, r, inputs(resource.NewProperty(file), "new/parents/b"))
	read("new/parents/b", "changed")

	memory, _ := archive.FromAssets(map[string]any{"a": text})
	if _, failures := s.Check(t, "command:remote:CopyToRemote", "m", nil, inputs(resource.NewProperty(memory), "x")); len(failures) == 0 {
		t.Error("an archive from memory is not refused")
	}

	s.Create(t, "command:remote:CopyFile", "old", Props(map[string]any{
		"connection": host.connection(map[string]any{"password": sshPassword}),
		"localPath":  filepath.Join(from, "dir/deep/a"), "remotePath": filepath.Join(to, "old"),
	}))
	read("old", "changed")
}
