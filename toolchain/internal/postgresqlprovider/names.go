package postgresqlprovider

import (
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// checkNamed is infer's own check, and gives a name to what has none.
func checkNamed[I any](
	ctx context.Context, req infer.CheckRequest,
) (infer.CheckResponse[I], error) {
	if name, ok := req.NewInputs.GetOk("name"); !ok || name.IsNull() {
		before := ""
		if old, ok := req.OldInputs.GetOk("name"); ok && old.IsString() {
			before = old.AsString()
		}
		name, err := autoname(req.Name, before)
		if err != nil {
			return infer.CheckResponse[I]{}, err
		}
		req.NewInputs = req.NewInputs.Set("name", property.New(name))
	}
	inputs, failures, err := infer.DefaultCheck[I](ctx, req.NewInputs)
	return infer.CheckResponse[I]{Inputs: inputs, Failures: failures}, err
}

// observe makes of an input what the server says: what was set is what is there; what was left to its
// default stays unset as long as the default is there.
func observe[T comparable](input *T, actual, unset T) *T {
	if input == nil && actual == unset {
		return nil
	}
	return &actual
}
