// Package commandprovider runs commands, locally and over SSH, as Pulumi resources. It's a compatible
// subset of the official package `command`, written against the typings of its SDK.
package commandprovider

import (
	"context"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/middleware/schema"

	"togather.example/toolchain/internal/replace"
)

// Name is the package's name in type tokens and in the plugin's file name.
const Name = "command"

// New makes the provider.
func New() p.Provider {
	provider := infer.Provider(infer.Options{
		Metadata: schema.Metadata{Description: "Runs commands, locally and over SSH."},
		Resources: []infer.InferredResource{
			infer.Resource(&LocalCommand{}),
			infer.Resource(&RemoteCommand{}),
			infer.Resource(&CopyToRemote{}),
			infer.Resource(&CopyFile{}),
		},
		Functions: []infer.InferredFunction{
			infer.Function(&LocalRun{}),
		},
	})
	diff := provider.Diff
	provider.Diff = func(ctx context.Context, req p.DiffRequest) (p.DiffResponse, error) {
		resp, err := diff(ctx, req)
		return replace.OnChange(resp, "triggers"), err
	}
	return provider
}
