package postgresqlprovider

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// Extension is postgresql:index/extension:Extension.
type Extension struct{}

// ExtensionInputs are its inputs.
type ExtensionInputs struct {
	Name          string  `pulumi:"name"`
	Database      *string `pulumi:"database,optional"`
	Schema        *string `pulumi:"schema,optional"`
	Version       *string `pulumi:"version,optional"`
	CreateCascade *bool   `pulumi:"createCascade,optional"`
	DropCascade   *bool   `pulumi:"dropCascade,optional"`
}

// ExtensionState is its state.
type ExtensionState struct {
	Name          string `pulumi:"name"`
	Database      string `pulumi:"database"`
	Schema        string `pulumi:"schema"`
	Version       string `pulumi:"version"`
	CreateCascade *bool  `pulumi:"createCascade,optional"`
	DropCascade   *bool  `pulumi:"dropCascade,optional"`
}

func (e *Extension) Annotate(a infer.Annotator) { a.SetToken("index/extension", "Extension") }

// Check takes the resource's name for the extension's where none is given: with a random suffix, as other
// resources get, there would be no such extension.
func (*Extension) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[ExtensionInputs], error) {
	if name, ok := req.NewInputs.GetOk("name"); !ok || name.IsNull() {
		req.NewInputs = req.NewInputs.Set("name", property.New(req.Name))
	}
	inputs, failures, err := infer.DefaultCheck[ExtensionInputs](ctx, req.NewInputs)
	return infer.CheckResponse[ExtensionInputs]{Inputs: inputs, Failures: failures}, err
}

// Create installs the extension; one that is there already is taken over.
func (*Extension) Create(
	ctx context.Context, req infer.CreateRequest[ExtensionInputs],
) (infer.CreateResponse[ExtensionState], error) {
	in := req.Inputs
	database := databaseOf(ctx, in.Database)
	resp := infer.CreateResponse[ExtensionState]{ID: database + "." + in.Name, Output: in.state(database)}
	if req.DryRun {
		return resp, nil
	}
	err := change(ctx, database, func(tx pgx.Tx) error {
		statement := "CREATE EXTENSION IF NOT EXISTS " + ident(in.Name)
		if in.Schema != nil {
			statement += " SCHEMA " + ident(*in.Schema)
		}
		if in.Version != nil {
			statement += " VERSION " + ident(*in.Version)
		}
		if orDefault(in.CreateCascade, false) {
			statement += " CASCADE"
		}
		owner, err := databaseOwner(ctx, tx)
		if err != nil {
			return err
		}
		err = asMemberOf(ctx, tx, []string{owner}, func() error { return execAll(ctx, tx, statement) })
		if err != nil {
			return fmt.Errorf("cannot create extension %s: %w", in.Name, err)
		}
		_, err = resp.Output.read(ctx, tx)
		return err
	})
	return resp, err
}

// Update moves the extension to another schema or version in place.
func (*Extension) Update(
	ctx context.Context, req infer.UpdateRequest[ExtensionInputs, ExtensionState],
) (infer.UpdateResponse[ExtensionState], error) {
	in, before := req.Inputs, req.State
	resp := infer.UpdateResponse[ExtensionState]{Output: in.state(before.Database)}
	if req.DryRun {
		return resp, nil
	}
	err := change(ctx, before.Database, func(tx pgx.Tx) error {
		var statements []string
		if in.Schema != nil && *in.Schema != before.Schema {
			statements = append(statements, fmt.Sprintf("ALTER EXTENSION %s SET SCHEMA %s", ident(in.Name), ident(*in.Schema)))
		}
		if in.Version != nil && *in.Version != before.Version {
			statements = append(statements, fmt.Sprintf("ALTER EXTENSION %s UPDATE TO %s", ident(in.Name), ident(*in.Version)))
		}
		if err := execAll(ctx, tx, statements...); err != nil {
			return fmt.Errorf("cannot alter extension %s: %w", in.Name, err)
		}
		_, err := resp.Output.read(ctx, tx)
		return err
	})
	return resp, err
}

// Read finds out what the extension is now.
func (*Extension) Read(
	ctx context.Context, req infer.ReadRequest[ExtensionInputs, ExtensionState],
) (infer.ReadResponse[ExtensionInputs, ExtensionState], error) {
	in, state := req.Inputs, req.State
	if state.Name == "" {
		var ok bool
		if state.Database, state.Name, ok = strings.Cut(req.ID, "."); !ok {
			return infer.ReadResponse[ExtensionInputs, ExtensionState]{},
				fmt.Errorf("%q is not of the form database.extension", req.ID)
		}
		in.Name, in.Database = state.Name, &state.Database
	}
	found, err := readIn(ctx, state.Database, state.read)
	if err != nil || !found {
		return infer.ReadResponse[ExtensionInputs, ExtensionState]{}, err
	}
	if in.Schema != nil {
		in.Schema = &state.Schema
	}
	if in.Version != nil {
		in.Version = &state.Version
	}
	return infer.ReadResponse[ExtensionInputs, ExtensionState]{ID: req.ID, Inputs: in, State: state}, nil
}

// Delete drops the extension; what depends on it only if the program says so.
func (*Extension) Delete(ctx context.Context, req infer.DeleteRequest[ExtensionState]) (infer.DeleteResponse, error) {
	state := req.State
	return infer.DeleteResponse{}, change(ctx, state.Database, func(tx pgx.Tx) error {
		err := execAll(ctx, tx, "DROP EXTENSION IF EXISTS "+ident(state.Name)+dropMode(state.DropCascade))
		if err != nil {
			return fmt.Errorf("cannot drop extension %s: %w", state.Name, err)
		}
		return nil
	})
}

func (in ExtensionInputs) state(database string) ExtensionState {
	return ExtensionState{
		Name: in.Name, Database: database, Schema: orDefault(in.Schema, ""), Version: orDefault(in.Version, ""),
		CreateCascade: in.CreateCascade, DropCascade: in.DropCascade,
	}
}

func (s *ExtensionState) read(ctx context.Context, tx pgx.Tx) (bool, error) {
	err := tx.QueryRow(ctx, `SELECT n.nspname::text, e.extversion
		FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
		WHERE e.extname = $1`, s.Name).Scan(&s.Schema, &s.Version)
	return foundRow(err)
}
