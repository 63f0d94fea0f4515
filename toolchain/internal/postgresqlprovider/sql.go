package postgresqlprovider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

func ident(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

func idents(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = ident(name)
	}
	return strings.Join(quoted, ", ")
}

// literal quotes a string where SQL takes no parameter, as in CREATE ROLE ... PASSWORD.
func literal(value string) string {
	quoted := "'" + strings.ReplaceAll(value, "'", "''") + "'"
	if strings.Contains(value, `\`) {
		// Right whatever standard_conforming_strings says.
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// querier is a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func exists(ctx context.Context, db querier, condition string, args ...any) (bool, error) {
	var found bool
	err := db.QueryRow(ctx, "SELECT EXISTS (SELECT "+condition+")", args...).Scan(&found)
	return found, err
}

func roleExists(ctx context.Context, db querier, name string) (bool, error) {
	if isPublic(name) {
		return true, nil
	}
	return exists(ctx, db, "FROM pg_catalog.pg_roles WHERE rolname = $1", name)
}

func databaseExists(ctx context.Context, db querier, name string) (bool, error) {
	return exists(ctx, db, "FROM pg_catalog.pg_database WHERE datname = $1", name)
}

func schemaExists(ctx context.Context, db querier, name string) (bool, error) {
	return exists(ctx, db, "FROM pg_catalog.pg_namespace WHERE nspname = $1", name)
}

func isPublic(role string) bool { return strings.EqualFold(role, "public") }

func execAll(ctx context.Context, db querier, statements ...string) error {
	for _, statement := range statements {
		if _, err := db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// asMemberOf does work with the privileges of other roles. The transaction undoes all of it on error.
func asMemberOf(ctx context.Context, tx pgx.Tx, roles []string, work func() error) error {
	joined, err := join(ctx, tx, roles)
	if err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	for _, role := range joined {
		// The work may have dropped it.
		found, err := roleExists(ctx, tx, role)
		if err == nil && found {
			err = execAll(ctx, tx, fmt.Sprintf("REVOKE %s FROM CURRENT_USER", ident(role)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// join makes the provider's user a member of the roles whose privileges it does not have, and returns
// those. A superuser has them all; other users are what managed servers give out.
func join(ctx context.Context, db querier, roles []string) ([]string, error) {
	var joined []string
	for _, role := range roles {
		var missing bool
		err := db.QueryRow(ctx, `SELECT NOT rolsuper AND NOT pg_catalog.pg_has_role(current_user, oid, 'USAGE')
			FROM pg_catalog.pg_roles WHERE rolname = $1`, role).Scan(&missing)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !missing {
			continue
		}
		if err == nil {
			err = execAll(ctx, db, fmt.Sprintf("GRANT %s TO CURRENT_USER", ident(role)))
		}
		if err != nil {
			return joined, err
		}
		joined = append(joined, role)
	}
	return joined, nil
}

// autoname is the name of a resource that was given none: its logical name with a random suffix, kept
// from one run to the next.
func autoname(resourceName, before string) (string, error) {
	if before != "" {
		return before, nil
	}
	return resource.NewUniqueHex(resourceName+"-", 7, 63)
}

func changed[T comparable](before, after *T) bool {
	return (before == nil) != (after == nil) || before != nil && *before != *after
}
