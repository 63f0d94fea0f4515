// Package replace says which changes of a resource's inputs replace it.
package replace

import (
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
)

// OnChange makes a change of any of the properties, or of a part of them, a replacement. infer's own
// tag does so only where a whole list comes or goes: it compares the path `triggers[0]` with the name
// `triggers`.
func OnChange(resp p.DiffResponse, properties ...string) p.DiffResponse {
	for path, change := range resp.DetailedDiff {
		for _, property := range properties {
			if root(path) == property {
				change.Kind = asReplace(change.Kind)
				resp.DetailedDiff[path] = change
			}
		}
	}
	return resp
}

// Never makes every change an update in place.
func Never(resp p.DiffResponse) p.DiffResponse {
	for path, change := range resp.DetailedDiff {
		switch change.Kind {
		case p.AddReplace:
			change.Kind = p.Add
		case p.DeleteReplace:
			change.Kind = p.Delete
		case p.UpdateReplace:
			change.Kind = p.Update
		}
		resp.DetailedDiff[path] = change
	}
	return resp
}

func asReplace(kind p.DiffKind) p.DiffKind {
	switch kind {
	case p.Add:
		return p.AddReplace
	case p.Delete:
		return p.DeleteReplace
	case p.Update:
		return p.UpdateReplace
	}
	return kind
}

func root(path string) string {
	if end := strings.IndexAny(path, ".["); end >= 0 {
		return path[:end]
	}
	return path
}
