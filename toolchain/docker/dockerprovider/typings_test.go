package dockerprovider

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The typings of the official SDK, in the node_modules of the project.
const sdk = "../../../node_modules/@pulumi/docker"

// shape is what a property looks like from outside.
type shape struct {
	// kind is string, number, boolean, map, object, or one of these with [] after it.
	kind string
	// object is the name of the interface of an object or of an array's elements.
	object   string
	required bool
}

type typings map[string]map[string]shape

var (
	comments   = regexp.MustCompile(`(?s)/\*.*?\*/`)
	interfaces = regexp.MustCompile(`(?s)export interface (\w+) \{\n(.*?)\n\}`)
	nested     = regexp.MustCompile(`inputs\.(\w+)`)
)

// readTypings reads the interfaces of a file of the SDK.
func readTypings(t *testing.T, file string) typings {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(sdk, file))
	if err != nil {
		t.Fatalf("the official SDK is not there, install the project's npm packages first: %v", err)
	}
	result := typings{}
	for _, match := range interfaces.FindAllStringSubmatch(comments.ReplaceAllString(string(text), ""), -1) {
		properties := map[string]shape{}
		for name, declaration := range declarations(match[2]) {
			properties[strings.TrimSuffix(name, "?")] = shapeOf(declaration, !strings.HasSuffix(name, "?"))
		}
		result[match[1]] = properties
	}
	return result
}

// declarations splits the body of an interface into names and types; the type of a map spans lines.
func declarations(body string) map[string]string {
	result := map[string]string{}
	name, depth := "", 0
	for _, line := range strings.Split(body, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if depth == 0 {
			var declared string
			name, declared, _ = strings.Cut(line, ": ")
			result[name] = declared
		} else {
			result[name] += line
		}
		depth += strings.Count(line, "{") - strings.Count(line, "}")
	}
	return result
}

func shapeOf(declaration string, required bool) shape {
	s := shape{required: required}
	if match := nested.FindStringSubmatch(declaration); match != nil {
		s.kind, s.object = "object", match[1]
	} else {
		for _, scalar := range []string{"string", "number", "boolean"} {
			if strings.Contains(strings.Replace(declaration, "[key: string]", "", 1), scalar) {
				s.kind = scalar
			}
		}
	}
	if strings.Contains(declaration, "[key: string]") {
		s.kind = "map"
	}
	if strings.Contains(declaration, "[]") {
		s.kind += "[]"
	}
	return s
}
