package postgresqlprovider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/pulumi/pulumi-go-provider/infer"
)

// Database is postgresql:index/database:Database.
type Database struct{}

// DatabaseInputs are its inputs.
type DatabaseInputs struct {
	Name                 string  `pulumi:"name"`
	Owner                *string `pulumi:"owner,optional"`
	Template             *string `pulumi:"template,optional"`
	Encoding             *string `pulumi:"encoding,optional"`
	LcCollate            *string `pulumi:"lcCollate,optional"`
	LcCtype              *string `pulumi:"lcCtype,optional"`
	TablespaceName       *string `pulumi:"tablespaceName,optional"`
	ConnectionLimit      *int    `pulumi:"connectionLimit,optional"`
	AllowConnections     *bool   `pulumi:"allowConnections,optional"`
	IsTemplate           *bool   `pulumi:"isTemplate,optional"`
	AlterObjectOwnership *bool   `pulumi:"alterObjectOwnership,optional"`
}

// DatabaseState is its state: the inputs, with what was left open as the server has it.
type DatabaseState struct {
	Name                 string `pulumi:"name"`
	Owner                string `pulumi:"owner"`
	Template             string `pulumi:"template"`
	Encoding             string `pulumi:"encoding"`
	LcCollate            string `pulumi:"lcCollate"`
	LcCtype              string `pulumi:"lcCtype"`
	TablespaceName       string `pulumi:"tablespaceName"`
	ConnectionLimit      int    `pulumi:"connectionLimit"`
	AllowConnections     bool   `pulumi:"allowConnections"`
	IsTemplate           bool   `pulumi:"isTemplate"`
	AlterObjectOwnership *bool  `pulumi:"alterObjectOwnership,optional"`
}

func (d *Database) Annotate(a infer.Annotator) { a.SetToken("index/database", "Database") }

// Check gives the database a name.
func (*Database) Check(ctx context.Context, req infer.CheckRequest) (infer.CheckResponse[DatabaseInputs], error) {
	return checkNamed[DatabaseInputs](ctx, req)
}

// Create makes the database; one that exists already is an error, not ours to take over.
func (*Database) Create(
	ctx context.Context, req infer.CreateRequest[DatabaseInputs],
) (infer.CreateResponse[DatabaseState], error) {
	in := req.Inputs
	resp := infer.CreateResponse[DatabaseState]{ID: in.Name, Output: DatabaseState{Name: in.Name}}
	if req.DryRun {
		return resp, nil
	}
	err := alterDatabases(ctx, in.owner(), func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, in.createStatement()); err != nil {
			return fmt.Errorf("cannot create database %s: %w", in.Name, err)
		}
		return resp.Output.read(ctx, conn, in)
	})
	return resp, err
}

// Update changes name, owner, tablespace, limit and flags in place.
func (*Database) Update(
	ctx context.Context, req infer.UpdateRequest[DatabaseInputs, DatabaseState],
) (infer.UpdateResponse[DatabaseState], error) {
	in, before := req.Inputs, req.State
	resp := infer.UpdateResponse[DatabaseState]{Output: before}
	resp.Output.Name = in.Name
	if req.DryRun {
		return resp, nil
	}
	err := alterDatabases(ctx, append(in.owner(), before.Owner), func(conn *pgx.Conn) error {
		for _, statement := range in.alterStatements(before) {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("cannot alter database %s: %w", before.Name, err)
			}
		}
		return resp.Output.read(ctx, conn, in)
	})
	if err == nil && orDefault(in.AlterObjectOwnership, false) && before.Owner != resp.Output.Owner {
		err = change(ctx, in.Name, func(tx pgx.Tx) error {
			return asMemberOf(ctx, tx, []string{before.Owner, resp.Output.Owner}, func() error {
				return execAll(ctx, tx,
					fmt.Sprintf("REASSIGN OWNED BY %s TO %s", ident(before.Owner), ident(resp.Output.Owner)))
			})
		})
	}
	return resp, err
}

// Read finds out what the database is now.
func (*Database) Read(
	ctx context.Context, req infer.ReadRequest[DatabaseInputs, DatabaseState],
) (infer.ReadResponse[DatabaseInputs, DatabaseState], error) {
	in, state := req.Inputs, req.State
	in.Name = req.ID
	if state.Name != "" {
		in.Name = state.Name
	}
	found := false
	err := inTransaction(ctx, "", func(tx pgx.Tx) (err error) {
		if found, err = databaseExists(ctx, tx, in.Name); err != nil || !found {
			return err
		}
		return state.read(ctx, tx, in)
	})
	if err != nil || !found {
		return infer.ReadResponse[DatabaseInputs, DatabaseState]{}, err
	}
	if in.Owner != nil && *in.Owner != "DEFAULT" {
		in.Owner = &state.Owner
	}
	in.ConnectionLimit = observe(in.ConnectionLimit, state.ConnectionLimit, -1)
	in.AllowConnections = observe(in.AllowConnections, state.AllowConnections, true)
	in.IsTemplate = observe(in.IsTemplate, state.IsTemplate, false)
	return infer.ReadResponse[DatabaseInputs, DatabaseState]{ID: req.ID, Inputs: in, State: state}, nil
}

// Delete drops the database; that fails while anyone is connected to it.
func (*Database) Delete(ctx context.Context, req infer.DeleteRequest[DatabaseState]) (infer.DeleteResponse, error) {
	name := req.State.Name
	return infer.DeleteResponse{}, alterDatabases(ctx, []string{req.State.Owner}, func(conn *pgx.Conn) error {
		if found, err := databaseExists(ctx, conn, name); err != nil || !found {
			return err
		}
		if req.State.IsTemplate {
			if _, err := conn.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s IS_TEMPLATE false", ident(name))); err != nil {
				return err
			}
		}
		if _, err := conn.Exec(ctx, "DROP DATABASE "+ident(name)); err != nil {
			return fmt.Errorf("cannot drop database %s: %w", name, err)
		}
		return nil
	})
}

// owner is the owner that the program asked for, if it did.
func (in DatabaseInputs) owner() []string {
	if in.Owner == nil || *in.Owner == "" || strings.EqualFold(*in.Owner, "DEFAULT") {
		return nil
	}
	return []string{*in.Owner}
}

func (in DatabaseInputs) createStatement() string {
	var b strings.Builder
	b.WriteString("CREATE DATABASE " + ident(in.Name))
	option := func(keyword string, value *string, unset string, quote func(string) string) {
		switch {
		case value != nil && strings.EqualFold(*value, "DEFAULT"):
			fmt.Fprintf(&b, " %s DEFAULT", keyword)
		case value != nil && *value != "":
			fmt.Fprintf(&b, " %s %s", keyword, quote(*value))
		case unset != "":
			fmt.Fprintf(&b, " %s %s", keyword, unset)
		}
	}
	quoted := func(name string) string { return ident(name) }
	option("OWNER", in.Owner, "", quoted)
	option("TEMPLATE", in.Template, "template0", quoted)
	option("ENCODING", in.Encoding, "'UTF8'", literal)
	option("LC_COLLATE", in.LcCollate, "", literal)
	option("LC_CTYPE", in.LcCtype, "", literal)
	option("TABLESPACE", in.TablespaceName, "", quoted)
	fmt.Fprintf(&b, " ALLOW_CONNECTIONS %t CONNECTION LIMIT %d IS_TEMPLATE %t",
		orDefault(in.AllowConnections, true), orDefault(in.ConnectionLimit, -1), orDefault(in.IsTemplate, false))
	return b.String()
}

func (in DatabaseInputs) alterStatements(before DatabaseState) []string {
	var statements []string
	add := func(format string, args ...any) {
		statements = append(statements, fmt.Sprintf("ALTER DATABASE %s ", ident(in.Name))+fmt.Sprintf(format, args...))
	}
	if in.Name != before.Name {
		statements = append(statements, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", ident(before.Name), ident(in.Name)))
	}
	if owner := in.owner(); owner != nil && owner[0] != before.Owner {
		add("OWNER TO %s", ident(owner[0]))
	}
	if space := orDefault(in.TablespaceName, ""); space != "" && !strings.EqualFold(space, "DEFAULT") && space != before.TablespaceName {
		add("SET TABLESPACE %s", ident(space))
	}
	if limit := orDefault(in.ConnectionLimit, -1); limit != before.ConnectionLimit {
		add("CONNECTION LIMIT %d", limit)
	}
	if allow := orDefault(in.AllowConnections, true); allow != before.AllowConnections {
		add("ALLOW_CONNECTIONS %t", allow)
	}
	if template := orDefault(in.IsTemplate, false); template != before.IsTemplate {
		add("IS_TEMPLATE %t", template)
	}
	return statements
}

func (s *DatabaseState) read(ctx context.Context, db querier, in DatabaseInputs) error {
	s.Name = in.Name
	s.AlterObjectOwnership = in.AlterObjectOwnership
	// The server does not know from which template it was made.
	s.Template = orDefault(in.Template, "template0")
	return db.QueryRow(ctx, `
		SELECT pg_catalog.pg_get_userbyid(d.datdba)::text, pg_catalog.pg_encoding_to_char(d.encoding)::text,
			COALESCE(d.datcollate::text, ''), COALESCE(d.datctype::text, ''), t.spcname::text,
			d.datconnlimit, d.datallowconn, d.datistemplate
		FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
		WHERE d.datname = $1`, in.Name).
		Scan(&s.Owner, &s.Encoding, &s.LcCollate, &s.LcCtype, &s.TablespaceName,
			&s.ConnectionLimit, &s.AllowConnections, &s.IsTemplate)
}

// alterDatabases runs statements that cannot be in a transaction, with membership in the owners for as
// long as it takes.
func alterDatabases(ctx context.Context, owners []string, work func(*pgx.Conn) error) (err error) {
	catalog.Lock()
	defer catalog.Unlock()
	conn, err := infer.GetConfig[*Config](ctx).connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	joined, err := join(ctx, conn, owners)
	defer func() {
		for _, role := range joined {
			_, leaveErr := conn.Exec(context.WithoutCancel(ctx), fmt.Sprintf("REVOKE %s FROM CURRENT_USER", ident(role)))
			err = errors.Join(err, leaveErr)
		}
	}()
	if err != nil {
		return err
	}
	return work(conn)
}
