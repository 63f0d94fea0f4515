package deps

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// An import that is missing here would be compiled again at every change of the sources.
func TestListIsComplete(t *testing.T) {
	list := imports(t, "deps.go")
	used := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && filepath.Base(path) != "deps.go" {
			for name := range imports(t, path) {
				used[name] = true
				if !list[name] {
					t.Errorf("%s imports %s, which deps.go lacks", path, name)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range list {
		if !used[name] {
			t.Errorf("nothing imports %s any more", name)
		}
	}
}

func imports(t *testing.T, path string) map[string]bool {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, spec := range file.Imports {
		name := strings.Trim(spec.Path.Value, `"`)
		if host, _, _ := strings.Cut(name, "/"); strings.Contains(host, ".") && host != "togather.example" {
			found[name] = true
		}
	}
	return found
}
