// Package postgresqlprovider manages roles, databases and privileges in a PostgreSQL server. It's a
// compatible subset of the official package `postgresql`, written against the typings of its SDK.
package postgresqlprovider

import (
	"context"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/middleware/schema"
	"github.com/pulumi/pulumi/sdk/v3/go/property"

	"togather.example/toolchain/internal/replace"
)

// Name is the package's name in type tokens and in the plugin's file name.
const Name = "postgresql"

// What cannot change in place.
var replacedBy = map[string][]string{
	"postgresql:index/database:Database":   {"template", "encoding", "lcCollate", "lcCtype"},
	"postgresql:index/schema:Schema":       {"database"},
	"postgresql:index/extension:Extension": {"name", "database"},
	"postgresql:index/grant:Grant": {
		"role", "database", "schema", "objectType", "objects", "columns", "withGrantOption",
	},
	"postgresql:index/defaultPrivileges:DefaultPrivileges": {
		"role", "database", "owner", "schema", "objectType", "withGrantOption",
	},
}

// New makes the provider.
func New() p.Provider {
	provider := infer.Provider(infer.Options{
		Metadata: schema.Metadata{Description: "Roles, databases and privileges of a PostgreSQL server."},
		Config:   infer.Config(&Config{}),
		Resources: []infer.InferredResource{
			infer.Resource(&Role{}),
			infer.Resource(&Database{}),
			infer.Resource(&Schema{}),
			infer.Resource(&Extension{}),
			infer.Resource(&Grant{}),
			infer.Resource(&DefaultPrivileges{}),
		},
	})

	diff := provider.Diff
	provider.Diff = func(ctx context.Context, req p.DiffRequest) (p.DiffResponse, error) {
		req, versionChange := withoutVersion(req)
		resp, err := diff(ctx, req)
		if err != nil {
			return resp, err
		}
		if versionChange != nil {
			resp.HasChanges = true
			if resp.DetailedDiff == nil {
				resp.DetailedDiff = map[string]p.PropertyDiff{}
			}
			resp.DetailedDiff["version"] = *versionChange
		}
		return replace.OnChange(resp, replacedBy[string(req.Urn.Type())]...), nil
	}

	// infer would replace a provider whose configuration changes, and with it the engine every resource
	// that it made: a new password would drop the database.
	diffConfig := provider.DiffConfig
	provider.DiffConfig = func(ctx context.Context, req p.DiffRequest) (p.DiffResponse, error) {
		resp, err := diffConfig(ctx, req)
		return replace.Never(resp), err
	}
	return provider
}

// withoutVersion takes the property `version` out of a comparison and compares it itself: infer takes
// it for the version of the plugin, which the engine adds to the new inputs, and would see an
// extension's version removed every time.
func withoutVersion(req p.DiffRequest) (p.DiffRequest, *p.PropertyDiff) {
	before, had := req.OldInputs.GetOk("version")
	after, has := req.Inputs.GetOk("version")
	req.OldInputs = req.OldInputs.Delete("version")
	req.Inputs = req.Inputs.Delete("version")
	switch {
	case !had && has:
		return req, &p.PropertyDiff{Kind: p.Add, InputDiff: true}
	case had && !has:
		return req, &p.PropertyDiff{Kind: p.Delete, InputDiff: true}
	case had && !equal(before, after):
		return req, &p.PropertyDiff{Kind: p.Update, InputDiff: true}
	}
	return req, nil
}

func equal(a, b property.Value) bool {
	return a.WithSecret(false).Equals(b.WithSecret(false))
}
