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

// DefaultPrivileges is postgresql:index/defaultPrivileges:DefaultPrivileges: what a role may do with
// what another role will create.
type DefaultPrivileges struct{}

// DefaultPrivilegesInputs are its inputs.
type DefaultPrivilegesInputs struct {
	Role            string   `pulumi:"role"`
	Database        string   `pulumi:"database"`
	Owner           string   `pulumi:"owner"`
	Schema          *string  `pulumi:"schema,optional"`
	ObjectType      string   `pulumi:"objectType"`
	Privileges      []string `pulumi:"privileges"`
	WithGrantOption *bool    `pulumi:"withGrantOption,optional"`
}

// DefaultPrivilegesState is its state.
type DefaultPrivilegesState struct {
	DefaultPrivilegesInputs
}

// The catalog's letter for each object type.
var defaultAclTypes = map[string]string{
	"table": "r", "sequence": "S", "function": "f", "routine": "f", "type": "T", "schema": "n",
}

func (d *DefaultPrivileges) Annotate(a infer.Annotator) {
	a.SetToken("index/defaultPrivileges", "DefaultPrivileges")
}

// Check refuses privileges that the object type does not have.
func (*DefaultPrivileges) Check(
	ctx context.Context, req infer.CheckRequest,
) (infer.CheckResponse[DefaultPrivilegesInputs], error) {
	in, failures, err := infer.DefaultCheck[DefaultPrivilegesInputs](ctx, req.NewInputs)
	if err == nil && len(failures) == 0 {
		allowed := []string{"table", "sequence", "function", "routine", "type", "schema"}
		failures = privilegeFailures(in.ObjectType, allowed, in.Privileges)
		if in.ObjectType == "schema" && in.Schema != nil {
			failures = append(failures, p.CheckFailure{
				Property: "schema", Reason: "cannot be given for object type schema",
			})
		}
		if orDefault(in.WithGrantOption, false) && isPublic(in.Role) {
			failures = append(failures, p.CheckFailure{
				Property: "withGrantOption", Reason: "cannot be given to public",
			})
		}
	}
	return infer.CheckResponse[DefaultPrivilegesInputs]{Inputs: in, Failures: failures}, err
}

// Create revokes what the role would get and grants what it should get, in one transaction.
func (*DefaultPrivileges) Create(
	ctx context.Context, req infer.CreateRequest[DefaultPrivilegesInputs],
) (infer.CreateResponse[DefaultPrivilegesState], error) {
	resp := infer.CreateResponse[DefaultPrivilegesState]{
		ID: req.Inputs.id(), Output: DefaultPrivilegesState{req.Inputs},
	}
	if req.DryRun {
		return resp, nil
	}
	return resp, req.Inputs.apply(ctx, true)
}

// Update does the same: only the privileges can have changed.
func (*DefaultPrivileges) Update(
	ctx context.Context, req infer.UpdateRequest[DefaultPrivilegesInputs, DefaultPrivilegesState],
) (infer.UpdateResponse[DefaultPrivilegesState], error) {
	resp := infer.UpdateResponse[DefaultPrivilegesState]{Output: DefaultPrivilegesState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, req.Inputs.apply(ctx, true)
}

// Read finds out what the role would get now; nothing means that the resource is gone.
func (*DefaultPrivileges) Read(
	ctx context.Context, req infer.ReadRequest[DefaultPrivilegesInputs, DefaultPrivilegesState],
) (infer.ReadResponse[DefaultPrivilegesInputs, DefaultPrivilegesState], error) {
	in := req.State.DefaultPrivilegesInputs
	if in.Role == "" {
		return infer.ReadResponse[DefaultPrivilegesInputs, DefaultPrivilegesState]{},
			fmt.Errorf("default privileges cannot be imported")
	}
	var granted []string
	found, err := readIn(ctx, in.Database, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if found, err := in.exists(ctx, tx); err != nil || !found {
			return false, err
		}
		var err error
		granted, err = in.granted(ctx, tx)
		return len(granted) > 0 || len(in.Privileges) == 0, err
	})
	if err != nil || !found {
		return infer.ReadResponse[DefaultPrivilegesInputs, DefaultPrivilegesState]{}, err
	}
	if !samePrivileges(in.ObjectType, granted, in.Privileges) {
		in.Privileges = granted
	}
	return infer.ReadResponse[DefaultPrivilegesInputs, DefaultPrivilegesState]{
		ID: req.ID, Inputs: in, State: DefaultPrivilegesState{in},
	}, nil
}

// Delete revokes what the role would get.
func (*DefaultPrivileges) Delete(
	ctx context.Context, req infer.DeleteRequest[DefaultPrivilegesState],
) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, req.State.apply(ctx, false)
}

func (in DefaultPrivilegesInputs) id() string {
	return strings.Join([]string{in.Role, in.Database, orDefault(in.Schema, "noschema"), in.Owner, in.ObjectType}, "_")
}

func (in DefaultPrivilegesInputs) exists(ctx context.Context, tx pgx.Tx) (bool, error) {
	for _, role := range []string{in.Role, in.Owner} {
		if found, err := roleExists(ctx, tx, role); err != nil || !found {
			return false, err
		}
	}
	if in.Schema == nil {
		return true, nil
	}
	return schemaExists(ctx, tx, *in.Schema)
}

func (in DefaultPrivilegesInputs) apply(ctx context.Context, grant bool) error {
	return change(ctx, in.Database, func(tx pgx.Tx) error {
		if !grant {
			if found, err := in.exists(ctx, tx); err != nil || !found {
				return err
			}
		}
		prefix := "ALTER DEFAULT PRIVILEGES FOR ROLE " + ident(in.Owner)
		if in.Schema != nil {
			prefix += " IN SCHEMA " + ident(*in.Schema)
		}
		objects := strings.ToUpper(in.ObjectType) + "S"
		statements := []string{fmt.Sprintf("%s REVOKE ALL ON %s FROM %s", prefix, objects, grantee(in.Role))}
		if grant && len(in.Privileges) > 0 {
			statement := fmt.Sprintf("%s GRANT %s ON %s TO %s",
				prefix, strings.Join(in.Privileges, ", "), objects, grantee(in.Role))
			if orDefault(in.WithGrantOption, false) {
				statement += " WITH GRANT OPTION"
			}
			statements = append(statements, statement)
		}
		err := asMemberOf(ctx, tx, []string{in.Owner}, func() error { return execAll(ctx, tx, statements...) })
		if err != nil {
			return fmt.Errorf("cannot alter the default privileges of role %s for what %s creates: %w", in.Role, in.Owner, err)
		}
		return nil
	})
}

func (in DefaultPrivilegesInputs) granted(ctx context.Context, tx pgx.Tx) ([]string, error) {
	role := in.Role
	if isPublic(role) {
		role = "public"
	}
	rows, err := tx.Query(ctx, `
		SELECT acl.privilege_type::text
		FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) acl
		WHERE d.defaclobjtype = $1::text::"char" AND pg_catalog.pg_get_userbyid(d.defaclrole) = $2
		AND d.defaclnamespace = COALESCE((SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3), 0)
		AND acl.grantee = CASE WHEN $4 = 'public' THEN 0
			ELSE (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $4) END
		ORDER BY 1`,
		defaultAclTypes[in.ObjectType], in.Owner, orDefault(in.Schema, ""), role)
	if err != nil {
		return nil, fmt.Errorf("cannot read default privileges: %w", err)
	}
	granted, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.Compact(granted), err
}
