package postgresqlprovider

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
)

// Grant is postgresql:index/grant:Grant: all privileges that a role has on something, no more and no less.
type Grant struct{}

// GrantInputs are its inputs.
type GrantInputs struct {
	Role            string    `pulumi:"role"`
	Database        string    `pulumi:"database"`
	Schema          *string   `pulumi:"schema,optional"`
	ObjectType      string    `pulumi:"objectType"`
	Objects         *[]string `pulumi:"objects,optional"`
	Columns         *[]string `pulumi:"columns,optional"`
	Privileges      []string  `pulumi:"privileges"`
	WithGrantOption *bool     `pulumi:"withGrantOption,optional"`
}

// GrantState is its state.
type GrantState struct {
	GrantInputs
}

var grantable = []string{
	"database", "schema", "table", "sequence", "function", "procedure", "routine",
	"foreign_data_wrapper", "foreign_server", "column",
}

func (g *Grant) Annotate(a infer.Annotator) { a.SetToken("index/grant", "Grant") }

// Check refuses privileges that the object type does not have.
func (*Grant) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[GrantInputs], error) {
	in, failures, err := infer.DefaultCheck[GrantInputs](ctx, req.NewInputs)
	if err == nil && len(failures) == 0 {
		failures = append(privilegeFailures(in.ObjectType, grantable, in.Privileges), in.failures(req.NewInputs.Get("schema").IsComputed())...)
	}
	return infer.CheckResponse[GrantInputs]{Inputs: in, Failures: failures}, err
}

// Create revokes what the role has and grants what it should have, in one transaction.
func (*Grant) Create(
	ctx context.Context, req infer.CreateRequest[GrantInputs],
) (infer.CreateResponse[GrantState], error) {
	resp := infer.CreateResponse[GrantState]{ID: req.Inputs.id(), Output: GrantState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, req.Inputs.apply(ctx, true)
}

// Update does the same: only the privileges can have changed.
func (*Grant) Update(
	ctx context.Context, req infer.UpdateRequest[GrantInputs, GrantState],
) (infer.UpdateResponse[GrantState], error) {
	resp := infer.UpdateResponse[GrantState]{Output: GrantState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, req.Inputs.apply(ctx, true)
}

// Read compares with what is granted. Where the objects do not all have the privileges asked for, it
// says that none has any, so that the next update grants them again.
func (*Grant) Read(
	ctx context.Context, req infer.ReadRequest[GrantInputs, GrantState],
) (infer.ReadResponse[GrantInputs, GrantState], error) {
	in := req.State.GrantInputs
	if in.Role == "" {
		return infer.ReadResponse[GrantInputs, GrantState]{}, fmt.Errorf("a grant cannot be imported")
	}
	same := true
	found, err := readIn(ctx, in.Database, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if found, err := roleExists(ctx, tx, in.Role); err != nil || !found {
			return false, err
		}
		if in.Schema != nil {
			if found, err := schemaExists(ctx, tx, *in.Schema); err != nil || !found {
				return false, err
			}
		}
		var err error
		same, err = in.granted(ctx, tx)
		return true, err
	})
	if err != nil || !found {
		return infer.ReadResponse[GrantInputs, GrantState]{}, err
	}
	if !same {
		in.Privileges = []string{}
	}
	return infer.ReadResponse[GrantInputs, GrantState]{ID: req.ID, Inputs: in, State: GrantState{in}}, nil
}

// Delete revokes everything that the role has on it.
func (*Grant) Delete(ctx context.Context, req infer.DeleteRequest[GrantState]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, req.State.apply(ctx, false)
}

func (in GrantInputs) failures(schemaUnknown bool) []p.CheckFailure {
	var failures []p.CheckFailure
	fail := func(property, reason string) {
		failures = append(failures, p.CheckFailure{Property: property, Reason: reason})
	}
	objects, columns := orDefault(in.Objects, nil), orDefault(in.Columns, nil)
	if in.needsSchema() && in.Schema == nil && !schemaUnknown {
		fail("schema", "is required for object type "+in.ObjectType)
	}
	switch in.ObjectType {
	case "database", "schema":
		if len(objects) > 0 {
			fail("objects", "cannot be given for object type "+in.ObjectType)
		}
	case "column":
		if len(objects) != 1 {
			fail("objects", "must be the one table for object type column")
		}
		if len(columns) == 0 {
			fail("columns", "is required for object type column")
		}
	case "foreign_data_wrapper", "foreign_server":
		if len(objects) != 1 {
			fail("objects", "must be one name for object type "+in.ObjectType)
		}
	}
	if len(columns) > 0 && in.ObjectType != "column" {
		fail("columns", "can only be given for object type column")
	}
	if orDefault(in.WithGrantOption, false) && isPublic(in.Role) {
		fail("withGrantOption", "cannot be given to public")
	}
	return failures
}

func (in GrantInputs) needsSchema() bool {
	return !slices.Contains([]string{"", "database", "foreign_data_wrapper", "foreign_server"}, in.ObjectType)
}

func (in GrantInputs) id() string {
	parts := []string{in.Role, in.Database}
	if in.needsSchema() {
		parts = append(parts, orDefault(in.Schema, ""))
	}
	parts = append(parts, in.ObjectType)
	parts = append(parts, orDefault(in.Objects, nil)...)
	parts = append(parts, orDefault(in.Columns, nil)...)
	return strings.Join(parts, "_")
}

// apply revokes everything and, if asked to, grants what the inputs say.
func (in GrantInputs) apply(ctx context.Context, grant bool) error {
	return change(ctx, in.Database, func(tx pgx.Tx) error {
		if !grant {
			// Whoever dropped the role or the schema took the privileges with it.
			if found, err := roleExists(ctx, tx, in.Role); err != nil || !found {
				return err
			}
			if in.Schema != nil {
				if found, err := schemaExists(ctx, tx, *in.Schema); err != nil || !found {
					return err
				}
			}
		}
		owners, err := in.owners(ctx, tx)
		if err != nil {
			return err
		}
		statements := []string{in.revoke()}
		if grant && len(in.Privileges) > 0 {
			statements = append(statements, in.grant())
		}
		err = asMemberOf(ctx, tx, owners, func() error { return execAll(ctx, tx, statements...) })
		if err != nil {
			return fmt.Errorf("cannot change the privileges of role %s on %s: %w", in.Role, in.target(), err)
		}
		return nil
	})
}

func (in GrantInputs) grant() string {
	privileges := make([]string, len(in.Privileges))
	for i, privilege := range in.Privileges {
		privileges[i] = privilege + in.columnList()
	}
	statement := fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(privileges, ", "), in.target(), grantee(in.Role))
	if orDefault(in.WithGrantOption, false) {
		statement += " WITH GRANT OPTION"
	}
	return statement
}

func (in GrantInputs) revoke() string {
	return fmt.Sprintf("REVOKE ALL PRIVILEGES%s ON %s FROM %s", in.columnList(), in.target(), grantee(in.Role))
}

func (in GrantInputs) columnList() string {
	if in.ObjectType != "column" {
		return ""
	}
	return " (" + idents(orDefault(in.Columns, nil)) + ")"
}

// target is what comes after ON.
func (in GrantInputs) target() string {
	objects := orDefault(in.Objects, nil)
	kind := strings.ReplaceAll(strings.ToUpper(in.ObjectType), "_", " ")
	switch {
	case in.ObjectType == "database":
		return "DATABASE " + ident(in.Database)
	case in.ObjectType == "schema":
		return "SCHEMA " + ident(orDefault(in.Schema, ""))
	case in.ObjectType == "column":
		return "TABLE " + ident(orDefault(in.Schema, ""), objects[0])
	case !in.needsSchema():
		return kind + " " + idents(objects)
	case len(objects) == 0:
		return fmt.Sprintf("ALL %sS IN SCHEMA %s", kind, ident(orDefault(in.Schema, "")))
	}
	names := make([]string, len(objects))
	for i, object := range objects {
		// A function may come with its argument types: name(integer, text).
		name, arguments, hasArguments := strings.Cut(object, "(")
		names[i] = ident(orDefault(in.Schema, ""), name)
		if hasArguments {
			names[i] += "(" + arguments
		}
	}
	return kind + " " + strings.Join(names, ", ")
}

// grantee is a role, or the word for everybody.
func grantee(role string) string {
	if isPublic(role) {
		return "PUBLIC"
	}
	return ident(role)
}
