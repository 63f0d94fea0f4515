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

// Role is postgresql:index/role:Role.
type Role struct{}

// RoleInputs are its inputs.
type RoleInputs struct {
	Name                            string    `pulumi:"name"`
	Password                        *string   `pulumi:"password,optional" provider:"secret"`
	PasswordWo                      *string   `pulumi:"passwordWo,optional" provider:"secret"`
	PasswordWoVersion               *string   `pulumi:"passwordWoVersion,optional"`
	Encrypted                       *string   `pulumi:"encrypted,optional"`
	EncryptedPassword               *bool     `pulumi:"encryptedPassword,optional"`
	Login                           *bool     `pulumi:"login,optional"`
	Superuser                       *bool     `pulumi:"superuser,optional"`
	CreateDatabase                  *bool     `pulumi:"createDatabase,optional"`
	CreateRole                      *bool     `pulumi:"createRole,optional"`
	Inherit                         *bool     `pulumi:"inherit,optional"`
	Replication                     *bool     `pulumi:"replication,optional"`
	BypassRowLevelSecurity          *bool     `pulumi:"bypassRowLevelSecurity,optional"`
	ConnectionLimit                 *int      `pulumi:"connectionLimit,optional"`
	ValidUntil                      *string   `pulumi:"validUntil,optional"`
	Roles                           *[]string `pulumi:"roles,optional"`
	SearchPaths                     *[]string `pulumi:"searchPaths,optional"`
	StatementTimeout                *int      `pulumi:"statementTimeout,optional"`
	IdleInTransactionSessionTimeout *int      `pulumi:"idleInTransactionSessionTimeout,optional"`
	AssumeRole                      *string   `pulumi:"assumeRole,optional"`
	SkipDropRole                    *bool     `pulumi:"skipDropRole,optional"`
	SkipReassignOwned               *bool     `pulumi:"skipReassignOwned,optional"`
}

// RoleState is its state.
type RoleState struct {
	RoleInputs
}

func (r *Role) Annotate(a infer.Annotator) { a.SetToken("index/role", "Role") }

// Check gives the role a name and refuses a search path that cannot be read back.
func (*Role) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[RoleInputs], error) {
	resp, err := checkNamed[RoleInputs](ctx, req)
	if resp.Inputs.SearchPaths != nil {
		for _, schema := range *resp.Inputs.SearchPaths {
			if strings.Contains(schema, ", ") {
				resp.Failures = append(resp.Failures, p.CheckFailure{
					Property: "searchPaths", Reason: fmt.Sprintf("%q contains a comma and a space", schema),
				})
			}
		}
	}
	return resp, err
}

// Create makes the role; one that exists already is an error, not ours to take over.
func (*Role) Create(
	ctx context.Context, req infer.CreateRequest[RoleInputs],
) (infer.CreateResponse[RoleState], error) {
	in := req.Inputs
	resp := infer.CreateResponse[RoleState]{ID: in.Name, Output: RoleState{in}}
	if req.DryRun {
		return resp, nil
	}
	err := change(ctx, "", func(tx pgx.Tx) error {
		if err := execAll(ctx, tx, "CREATE ROLE "+ident(in.Name)+passwordOption(in.password())); err != nil {
			return fmt.Errorf("cannot create role %s: %w", in.Name, err)
		}
		return alterRole(ctx, tx, in)
	})
	return resp, err
}

// Update changes what differs from the server's, and only that: some attributes only a superuser may
// mention at all.
func (*Role) Update(
	ctx context.Context, req infer.UpdateRequest[RoleInputs, RoleState],
) (infer.UpdateResponse[RoleState], error) {
	in, before := req.Inputs, req.State.RoleInputs
	resp := infer.UpdateResponse[RoleState]{Output: RoleState{in}}
	if req.DryRun {
		return resp, nil
	}
	err := change(ctx, "", func(tx pgx.Tx) error {
		renamed := before.Name != in.Name
		if renamed {
			rename := fmt.Sprintf("ALTER ROLE %s RENAME TO %s", ident(before.Name), ident(in.Name))
			if err := execAll(ctx, tx, rename); err != nil {
				return fmt.Errorf("cannot rename role %s: %w", before.Name, err)
			}
		}
		// Renaming clears an MD5 password, which is salted with the name.
		if renamed || changed(before.Password, in.Password) || changed(before.PasswordWoVersion, in.PasswordWoVersion) {
			option := passwordOption(in.password())
			if option == "" {
				option = " PASSWORD NULL"
			}
			if err := execAll(ctx, tx, "ALTER ROLE "+ident(in.Name)+option); err != nil {
				return fmt.Errorf("cannot set the password of role %s: %w", in.Name, err)
			}
		}
		return alterRole(ctx, tx, in)
	})
	return resp, err
}

// Read finds out what the role is now. The password is never read back: the server only has a hash.
func (*Role) Read(
	ctx context.Context, req infer.ReadRequest[RoleInputs, RoleState],
) (infer.ReadResponse[RoleInputs, RoleState], error) {
	in := req.Inputs
	if req.State.Name != "" {
		in = req.State.RoleInputs
	} else {
		in.Name = req.ID
	}
	var found *roleAttributes
	err := inTransaction(ctx, "", func(tx pgx.Tx) (err error) {
		if found, err = readRole(ctx, tx, in.Name); err != nil || found == nil {
			return err
		}
		// The server may write the same moment in another way.
		var same bool
		until := validUntil(in)
		err = tx.QueryRow(ctx, "SELECT $1::timestamptz = $2::timestamptz", until, found.validUntil).Scan(&same)
		if same {
			found.validUntil = until
		}
		return err
	})
	if err != nil || found == nil {
		return infer.ReadResponse[RoleInputs, RoleState]{}, err
	}
	in = found.observed(in)
	return infer.ReadResponse[RoleInputs, RoleState]{ID: req.ID, Inputs: in, State: RoleState{in}}, nil
}

// Delete gives what the role owns in the configured database to the provider's user and drops the role.
func (*Role) Delete(ctx context.Context, req infer.DeleteRequest[RoleState]) (infer.DeleteResponse, error) {
	name := req.State.Name
	return infer.DeleteResponse{}, change(ctx, "", func(tx pgx.Tx) error {
		if found, err := roleExists(ctx, tx, name); err != nil || !found {
			return err
		}
		if !orDefault(req.State.SkipReassignOwned, false) {
			err := asMemberOf(ctx, tx, []string{name}, func() error {
				return execAll(ctx, tx,
					fmt.Sprintf("REASSIGN OWNED BY %s TO CURRENT_USER", ident(name)),
					"DROP OWNED BY "+ident(name))
			})
			if err != nil {
				return fmt.Errorf("cannot reassign what role %s owns: %w", name, err)
			}
		}
		if orDefault(req.State.SkipDropRole, false) {
			return nil
		}
		if err := execAll(ctx, tx, "DROP ROLE "+ident(name)); err != nil {
			return fmt.Errorf("cannot drop role %s: %w", name, err)
		}
		return nil
	})
}

func (in RoleInputs) password() string {
	return orDefault(in.PasswordWo, orDefault(in.Password, ""))
}

func passwordOption(password string) string {
	switch {
	case password == "":
		return ""
	case strings.EqualFold(password, "NULL"):
		return " PASSWORD NULL"
	}
	return " PASSWORD " + literal(password)
}

// alterRole brings everything but name and password to what the inputs say.
func alterRole(ctx context.Context, tx pgx.Tx, in RoleInputs) error {
	now, err := readRole(ctx, tx, in.Name)
	if err != nil {
		return err
	}
	if now == nil {
		return fmt.Errorf("role %s does not exist", in.Name)
	}
	statements := now.memberships(in)
	statements = append(statements, now.settings(in)...)
	if options := now.options(in); len(options) > 0 {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s %s", ident(in.Name), strings.Join(options, " ")))
	}
	if err := execAll(ctx, tx, statements...); err != nil {
		return fmt.Errorf("cannot alter role %s: %w", in.Name, err)
	}
	return nil
}

// sameSet compares lists whose order means nothing.
func sameSet(a, b []string) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(slices.Compact(x), slices.Compact(y))
}
