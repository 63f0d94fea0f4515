// Package workflows lints the project's GitHub workflows as GitHub would read them.
package workflows

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/rhysd/actionlint"
)

const directory = "../../.github/workflows"

func lint(t *testing.T, path string, content []byte) []*actionlint.Error {
	t.Helper()
	linter, err := actionlint.NewLinter(&bytes.Buffer{}, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := linter.Lint(path, content, nil)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWorkflowsAreValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(directory, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no workflow in %s", directory)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range lint(t, file, content) {
				t.Error(found)
			}
		})
	}
}

// A lint that finds nothing proves nothing unless it finds what is wrong.
func TestLintFindsAMisspelledKey(t *testing.T) {
	broken := []byte("on: push\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    timeout-minuts: 5\n    steps:\n      - run: echo ${{ secret.X }}\n")
	if found := lint(t, "broken.yml", broken); len(found) < 2 {
		t.Fatalf("expected the misspelled key and the unknown context, found %v", found)
	}
}
