package commandprovider_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"togather.example/toolchain/internal/commandprovider"
	. "togather.example/toolchain/internal/providertest"
)

const command = "command:local:Command"

func start(t *testing.T) *Server {
	t.Helper()
	return Start(t, commandprovider.Name, commandprovider.New(), resource.PropertyMap{})
}

func expect(t *testing.T, outputs resource.PropertyMap, property resource.PropertyKey, want string) {
	t.Helper()
	value := outputs[property]
	if value.IsSecret() {
		value = value.SecretValue().Element
	}
	if !value.IsString() || value.StringValue() != want {
		t.Errorf("%s is %v, want %q", property, value, want)
	}
}

func TestOutputsOfCreate(t *testing.T) {
	s := start(t)
	r := s.Create(t, command, "c", Props(map[string]any{"create": "echo one; echo two; printf three >&2"}))
	expect(t, r.Outputs, "stdout", "one\ntwo")
	expect(t, r.Outputs, "stderr", "three")
	if !strings.HasPrefix(string(r.ID), "c") {
		t.Errorf("the id is %q, want the name with a random suffix", r.ID)
	}
}

func TestWithoutAnyCommandNothingRuns(t *testing.T) {
	s := start(t)
	r := s.Create(t, command, "c", Props(map[string]any{}))
	expect(t, r.Outputs, "stdout", "")
	s.Update(t, r, Props(map[string]any{"environment": map[string]any{"A": "1"}}))
	s.Delete(t, r)
}

func TestAPreviewRunsNothing(t *testing.T) {
	s := start(t)
	marker := filepath.Join(t.TempDir(), "marker")
	outputs := s.Preview(t, command, "c", Props(map[string]any{"create": "touch " + marker}))
	for _, property := range []resource.PropertyKey{"stdout", "stderr"} {
		if !outputs[property].IsComputed() {
			t.Errorf("%s is %v before the command ran, want unknown", property, outputs[property])
		}
	}
	r := s.Create(t, command, "c", Props(map[string]any{"create": "echo x"}))
	changed, err := s.TryUpdate(t, r, Props(map[string]any{"create": "touch " + marker}), true)
	if err != nil {
		t.Fatal(err)
	}
	if !changed["stdout"].IsComputed() {
		t.Errorf("stdout is %v although the command changed, want unknown", changed["stdout"])
	}
	if _, err := os.Stat(marker); !errors.Is(err, os.ErrNotExist) {
		t.Error("a preview ran the command")
	}
}

func TestUpdateRunsUpdateElseCreate(t *testing.T) {
	s := start(t)
	r := s.Create(t, command, "c", Props(map[string]any{"create": "echo create $A", "environment": map[string]any{"A": "1"}}))
	again := Props(map[string]any{"create": "echo create $A", "environment": map[string]any{"A": "2"}})
	if diff := s.Diff(t, r, again); diff.Changes != plugin.DiffSome || len(diff.ReplaceKeys) > 0 {
		t.Errorf("a changed environment gives %+v, want an update in place", diff)
	}
	s.Update(t, r, again)
	expect(t, r.Outputs, "stdout", "create 2")
	s.Update(t, r, Props(map[string]any{"create": "echo create", "update": "echo update"}))
	expect(t, r.Outputs, "stdout", "update")
	if diff := s.Diff(t, r, Props(map[string]any{"create": "echo create", "update": "echo update"})); diff.Changes != plugin.DiffNone {
		t.Errorf("equal inputs give %+v, want no change", diff)
	}
}

func TestAnyChangeOfTriggersReplaces(t *testing.T) {
	s := start(t)
	inputs := func(triggers ...any) resource.PropertyMap {
		values := map[string]any{"create": "echo", "update": "echo"}
		if triggers != nil {
			values["triggers"] = triggers
		}
		return Props(values)
	}
	r := s.Create(t, command, "c", inputs("a", map[string]any{"nested": []any{1.0}}))
	none := s.Create(t, command, "none", inputs())
	for name, diff := range map[string]plugin.DiffResponse{
		"element changed": s.Diff(t, r, inputs("b", map[string]any{"nested": []any{1.0}})),
		"nested changed":  s.Diff(t, r, inputs("a", map[string]any{"nested": []any{2.0}})),
		"element added":   s.Diff(t, r, inputs("a", map[string]any{"nested": []any{1.0}}, "c")),
		"element removed": s.Diff(t, r, inputs("a")),
		"all removed":     s.Diff(t, r, inputs()),
		"all added":       s.Diff(t, none, inputs("a")),
	} {
		replaces := false
		for _, change := range diff.DetailedDiff {
			replaces = replaces || change.Kind.IsReplace()
		}
		if diff.Changes != plugin.DiffSome || !replaces {
			t.Errorf("%s: %+v, want a replacement", name, diff.DetailedDiff)
		}
	}
	if diff := s.Diff(t, r, inputs("a", map[string]any{"nested": []any{1.0}})); diff.Changes != plugin.DiffNone {
		t.Errorf("equal triggers give %+v, want no change", diff)
	}
}

func TestAnUnknownInputIsAChange(t *testing.T) {
	s := start(t)
	r := s.Create(t, command, "c", Props(map[string]any{"create": "echo", "environment": map[string]any{"A": "1"}}))
	inputs := Props(map[string]any{"create": "echo"})
	inputs["environment"] = resource.NewProperty(resource.PropertyMap{"A": resource.MakeComputed(resource.NewProperty(""))})
	if diff := s.Diff(t, r, inputs); diff.Changes != plugin.DiffSome {
		t.Errorf("an unknown input gives %+v, want a change", diff)
	}
}

func TestPreviousOutputIsInTheEnvironment(t *testing.T) {
	s := start(t)
	file := filepath.Join(t.TempDir(), "deleted")
	show := `echo "[$PULUMI_COMMAND_STDOUT|$PULUMI_COMMAND_STDERR]"`
	inputs := Props(map[string]any{"create": "echo out; echo err >&2", "update": show, "delete": show + " > " + file})
	r := s.Create(t, command, "c", inputs)
	s.Update(t, r, inputs)
	expect(t, r.Outputs, "stdout", "[out|err]")
	s.Delete(t, r)
	if text, _ := os.ReadFile(file); string(text) != "[[out|err]|]\n" {
		t.Errorf("delete saw %q", text)
	}

	inputs["addPreviousOutputInEnv"] = resource.NewProperty(false)
	r = s.Create(t, command, "quiet", inputs)
	s.Update(t, r, inputs)
	expect(t, r.Outputs, "stdout", "[|]")
}

func TestStdinDirEnvironmentAndInterpreter(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	r := s.Create(t, command, "c", Props(map[string]any{
		"create": "pwd; echo $A; cat", "dir": dir, "stdin": "from stdin", "environment": map[string]any{"A": "b c"},
	}))
	expect(t, r.Outputs, "stdout", dir+"\nb c\nfrom stdin")

	here, _ := os.Getwd()
	r = s.Create(t, command, "here", Props(map[string]any{"create": "pwd"}))
	expect(t, r.Outputs, "stdout", here)

	r = s.Create(t, command, "interpreter", Props(map[string]any{
		"create": `$0 and "quotes"`, "interpreter": []any{"/usr/bin/printf", "%s!"},
	}))
	expect(t, r.Outputs, "stdout", `$0 and "quotes"!`)
}

func TestAFailureShowsCommandAndOutput(t *testing.T) {
	s := start(t)
	_, err := s.TryCreate(t, command, "c", Props(map[string]any{"create": "echo to stdout; echo to stderr >&2; exit 3"}))
	if err == nil {
		t.Fatal("a command that fails is no error")
	}
	for _, part := range []string{"exit status 3", "echo to stdout;", "to stdout\n", "to stderr\n"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error: %v", part, err)
		}
	}

	_, err = s.TryCreate(t, command, "d", Props(map[string]any{"create": "true", "dir": "/does/not/exist"}))
	if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("a missing directory gives %v", err)
	}
	_, err = s.TryCreate(t, command, "i", Props(map[string]any{"create": "true", "interpreter": []any{"/does/not/exist"}}))
	if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("a missing interpreter gives %v", err)
	}
}

func TestAFailedUpdateKeepsTheState(t *testing.T) {
	s := start(t)
	r := s.Create(t, command, "c", Props(map[string]any{"create": "echo first"}))
	if _, err := s.TryUpdate(t, r, Props(map[string]any{"create": "exit 1"}), false); err == nil {
		t.Fatal("a command that fails is no error")
	}
	expect(t, r.Outputs, "stdout", "first")
}

func TestSecrets(t *testing.T) {
	s := start(t)
	inputs := Props(map[string]any{"create": "exit 1"})
	inputs["environment"] = resource.NewProperty(resource.PropertyMap{"PASSWORD": Secret("hunter2")})
	inputs["stdin"] = Secret("hunter3")
	_, err := s.TryCreate(t, command, "fails", inputs)
	if err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("the error is %v: want one without the secrets of environment and stdin", err)
	}

	inputs["create"] = resource.NewProperty("echo done")
	r := s.Create(t, command, "works", inputs)
	if !r.Outputs["stdin"].IsSecret() || !r.Outputs["environment"].ContainsSecrets() {
		t.Errorf("secret inputs are plain in the state: %v", r.Outputs)
	}
	if strings.Contains(s.Shown(), "hunter") {
		t.Error("a secret was shown")
	}
}

func TestLogging(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for logging, want := range map[string][2]bool{
		"": {true, true}, "stdoutAndStderr": {true, true}, "stdout": {true, false}, "stderr": {false, true}, "none": {false, false},
	} {
		s := start(t)
		inputs := map[string]any{
			"create": `echo to-stdout; echo to-stderr >&2; head -c 200000 /dev/zero | tr '\0' x; printf '\nlast without newline'`,
		}
		if logging != "" {
			inputs["logging"] = logging
		}
		r := s.Create(t, command, "c", Props(inputs))
		expect(t, r.Outputs, "stderr", "to-stderr")
		expect(t, r.Outputs, "stdout", "to-stdout\n"+long+"\nlast without newline")
		shown := s.Shown()
		if strings.Contains(shown, "to-stdout") != want[0] || strings.Contains(shown, "last without newline") != want[0] {
			t.Errorf("logging %q shows of stdout: %.40q", logging, shown)
		}
		if strings.Contains(shown, "to-stderr") != want[1] {
			t.Errorf("logging %q shows of stderr: %.40q", logging, shown)
		}
	}
}

func TestOutputIsShownWhileTheCommandRuns(t *testing.T) {
	s := start(t)
	goOn := filepath.Join(t.TempDir(), "go-on")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.TryCreate(t, command, "c", Props(map[string]any{
			"create": "echo early; while ! test -e " + goOn + "; do sleep 0.05; done",
		}))
	}()
	eventually(t, func() bool { return strings.Contains(s.Shown(), "early") })
	select {
	case <-done:
		t.Error("the command ended before it was allowed to")
	default:
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-done
}

func TestCancellationReachesTheWholeGroup(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	failed := make(chan error)
	go func() {
		// The grandchild holds the pipes: only a signal to the group ends this soon.
		_, err := s.TryCreate(t, command, "c", Props(map[string]any{
			"dir":    dir,
			"create": `trap 'echo cleaned up > trap; exit 7' TERM; sleep 300 & echo $! > pid; echo begun; wait`,
		}))
		failed <- err
	}()
	eventually(t, func() bool { return strings.Contains(s.Shown(), "begun") })
	began := time.Now()
	if err := s.SignalCancellation(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a cancelled command is no error")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("cancelling took %s", took)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "trap")); string(text) != "cleaned up\n" {
		t.Error("the command could not clean up")
	}
	text, _ := os.ReadFile(filepath.Join(dir, "pid"))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || isZombie(pid) })
}

// Without an init process nobody reaps what lost its parent.
func isZombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestAssetsAndArchive(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	r := s.Create(t, command, "c", Props(map[string]any{
		"create":       "mkdir -p src/deep assets && touch src/a.js src/deep/b.js src/secret.js assets/logo.svg other.txt",
		"dir":          dir,
		"assetPaths":   []any{"assets/**", "src/**.js", "!**secret.*"},
		"archivePaths": []any{"*.txt"},
	}))
	assets := r.Outputs["assets"].ObjectValue()
	if len(assets) != 3 || !assets["src/deep/b.js"].IsAsset() || !assets["assets/logo.svg"].IsAsset() || !assets["src/a.js"].IsAsset() {
		t.Errorf("the assets are %v", assets)
	}
	archive := r.Outputs["archive"]
	if !archive.IsArchive() || len(archive.ArchiveValue().Assets) != 1 {
		t.Errorf("the archive is %v", archive)
	}
}

func TestRun(t *testing.T) {
	s := start(t)
	resp, err := s.Invoke(context.Background(), plugin.InvokeRequest{
		Tok:  tokens.ModuleMember("command:local:run"),
		Args: Props(map[string]any{"command": "echo $A", "environment": map[string]any{"A": "x"}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, resp.Properties, "stdout", "x")
	expect(t, resp.Properties, "command", "echo $A")
	if _, err := s.Invoke(context.Background(), plugin.InvokeRequest{
		Tok: tokens.ModuleMember("command:local:run"), Args: Props(map[string]any{"command": "exit 2"}),
	}); err == nil {
		t.Error("a command that fails is no error")
	}
}

func TestSchema(t *testing.T) {
	s := start(t)
	schema, err := s.GetSchema(context.Background(), plugin.GetSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{
		"command:local:Command", "command:local:run", "command:remote:Command", "command:remote:CopyToRemote", "command:remote:CopyFile",
	} {
		if !strings.Contains(string(schema.Schema), `"`+token+`"`) {
			t.Errorf("%s is not in the schema", token)
		}
	}
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Error("waited 10 s for nothing")
}
