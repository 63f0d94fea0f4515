package postgresqlprovider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pulumi/pulumi-go-provider/infer"
)

// Schema is postgresql:index/schema:Schema. Its deprecated `policies` are not supported: use Grant.
type Schema struct{}

// SchemaInputs are its inputs.
type SchemaInputs struct {
	Name        string  `pulumi:"name"`
	Database    *string `pulumi:"database,optional"`
	Owner       *string `pulumi:"owner,optional"`
	IfNotExists *bool   `pulumi:"ifNotExists,optional"`
	DropCascade *bool   `pulumi:"dropCascade,optional"`
}

// SchemaState is its state.
type SchemaState struct {
	Name        string `pulumi:"name"`
	Database    string `pulumi:"database"`
	Owner       string `pulumi:"owner"`
	IfNotExists *bool  `pulumi:"ifNotExists,optional"`
	DropCascade *bool  `pulumi:"dropCascade,optional"`
}

func (s *Schema) Annotate(a infer.Annotator) { a.SetToken("index/schema", "Schema") }

// Check gives the schema a name.
func (*Schema) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[SchemaInputs], error) {
	return checkNamed[SchemaInputs](ctx, req)
}

// Create makes the schema, or takes over one that exists, unless told not to.
func (*Schema) Create(
	ctx context.Context, req infer.CreateRequest[SchemaInputs],
) (infer.CreateResponse[SchemaState], error) {
	in := req.Inputs
	database := databaseOf(ctx, in.Database)
	resp := infer.CreateResponse[SchemaState]{ID: database + "." + in.Name, Output: in.state(database)}
	if req.DryRun {
		return resp, nil
	}
	err := change(ctx, database, func(tx pgx.Tx) error {
		owner, err := databaseOwner(ctx, tx)
		if err != nil {
			return err
		}
		roles := []string{owner}
		statement := "CREATE SCHEMA " + ident(in.Name)
		if orDefault(in.IfNotExists, true) {
			statement = "CREATE SCHEMA IF NOT EXISTS " + ident(in.Name)
		}
		statements := []string{statement}
		if in.Owner != nil {
			roles = append(roles, *in.Owner)
			statements = append(statements, fmt.Sprintf("ALTER SCHEMA %s OWNER TO %s", ident(in.Name), ident(*in.Owner)))
		}
		err = asMemberOf(ctx, tx, roles, func() error { return execAll(ctx, tx, statements...) })
		if err != nil {
			return fmt.Errorf("cannot create schema %s: %w", in.Name, err)
		}
		_, err = resp.Output.read(ctx, tx)
		return err
	})
	return resp, err
}

// Update changes name and owner in place.
func (*Schema) Update(
	ctx context.Context, req infer.UpdateRequest[SchemaInputs, SchemaState],
) (infer.UpdateResponse[SchemaState], error) {
	in, before := req.Inputs, req.State
	resp := infer.UpdateResponse[SchemaState]{Output: in.state(before.Database)}
	resp.Output.Owner = before.Owner
	if req.DryRun {
		return resp, nil
	}
	err := change(ctx, before.Database, func(tx pgx.Tx) error {
		roles := []string{before.Owner}
		var statements []string
		if in.Name != before.Name {
			statements = append(statements, fmt.Sprintf("ALTER SCHEMA %s RENAME TO %s", ident(before.Name), ident(in.Name)))
		}
		if in.Owner != nil && *in.Owner != before.Owner {
			roles = append(roles, *in.Owner)
			statements = append(statements, fmt.Sprintf("ALTER SCHEMA %s OWNER TO %s", ident(in.Name), ident(*in.Owner)))
		}
		err := asMemberOf(ctx, tx, roles, func() error { return execAll(ctx, tx, statements...) })
		if err != nil {
			return fmt.Errorf("cannot alter schema %s: %w", before.Name, err)
		}
		_, err = resp.Output.read(ctx, tx)
		return err
	})
	return resp, err
}

// Read finds out what the schema is now.
func (*Schema) Read(
	ctx context.Context, req infer.ReadRequest[SchemaInputs, SchemaState],
) (infer.ReadResponse[SchemaInputs, SchemaState], error) {
	in, state := req.Inputs, req.State
	if state.Name == "" {
		var ok bool
		if state.Database, state.Name, ok = strings.Cut(req.ID, "."); !ok {
			return infer.ReadResponse[SchemaInputs, SchemaState]{}, fmt.Errorf("%q is not of the form database.schema", req.ID)
		}
		in.Name, in.Database = state.Name, &state.Database
	}
	found, err := readIn(ctx, state.Database, state.read)
	if err != nil || !found {
		return infer.ReadResponse[SchemaInputs, SchemaState]{}, err
	}
	if in.Owner != nil {
		in.Owner = &state.Owner
	}
	return infer.ReadResponse[SchemaInputs, SchemaState]{ID: req.ID, Inputs: in, State: state}, nil
}

// Delete drops the schema; what is in it only if the program says so.
func (*Schema) Delete(ctx context.Context, req infer.DeleteRequest[SchemaState]) (infer.DeleteResponse, error) {
	state := req.State
	return infer.DeleteResponse{}, change(ctx, state.Database, func(tx pgx.Tx) error {
		err := asMemberOf(ctx, tx, []string{state.Owner}, func() error {
			return execAll(ctx, tx, "DROP SCHEMA IF EXISTS "+ident(state.Name)+dropMode(state.DropCascade))
		})
		if err != nil {
			return fmt.Errorf("cannot drop schema %s: %w", state.Name, err)
		}
		return nil
	})
}

func (in SchemaInputs) state(database string) SchemaState {
	return SchemaState{
		Name: in.Name, Database: database, Owner: orDefault(in.Owner, ""),
		IfNotExists: in.IfNotExists, DropCascade: in.DropCascade,
	}
}

func (s *SchemaState) read(ctx context.Context, tx pgx.Tx) (bool, error) {
	err := tx.QueryRow(ctx, `SELECT pg_catalog.pg_get_userbyid(nspowner)::text
		FROM pg_catalog.pg_namespace WHERE nspname = $1`, s.Name).Scan(&s.Owner)
	return foundRow(err)
}

func foundRow(err error) (bool, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func dropMode(cascade *bool) string {
	if orDefault(cascade, false) {
		return " CASCADE"
	}
	return " RESTRICT"
}

// databaseOf is the database that a resource names, or else the provider's.
func databaseOf(ctx context.Context, name *string) string {
	return orDefault(name, infer.GetConfig[*Config](ctx).database())
}

func databaseOwner(ctx context.Context, db querier) (string, error) {
	var owner string
	err := db.QueryRow(ctx, `SELECT pg_catalog.pg_get_userbyid(datdba)::text
		FROM pg_catalog.pg_database WHERE datname = current_database()`).Scan(&owner)
	return owner, err
}

// readIn reads something that is in a database; what is in a database that's gone is gone.
func readIn(ctx context.Context, database string, read func(context.Context, pgx.Tx) (bool, error)) (found bool, err error) {
	err = inTransaction(ctx, "", func(tx pgx.Tx) error {
		found, err = databaseExists(ctx, tx, database)
		return err
	})
	if err != nil || !found {
		return false, err
	}
	err = inTransaction(ctx, database, func(tx pgx.Tx) error {
		found, err = read(ctx, tx)
		return err
	})
	return found, err
}
