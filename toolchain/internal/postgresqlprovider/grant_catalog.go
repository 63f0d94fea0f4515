package postgresqlprovider

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// owners are the roles whose privileges a user that is no superuser needs to grant.
func (in GrantInputs) owners(ctx context.Context, tx pgx.Tx) ([]string, error) {
	if !in.needsSchema() {
		owner, err := databaseOwner(ctx, tx)
		return []string{owner}, err
	}
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT pg_catalog.pg_get_userbyid(owner)::text FROM (
			SELECT nspowner AS owner FROM pg_catalog.pg_namespace WHERE nspname = $1
			UNION SELECT relowner FROM pg_catalog.pg_class
				WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
			UNION SELECT proowner FROM pg_catalog.pg_proc
				WHERE pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1)
		) owners`, *in.Schema)
	if err != nil {
		return nil, err
	}
	owners, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for i, owner := range owners {
		// Who owns a new database's public schema since PostgreSQL 15: nobody can be granted this role.
		if err == nil && owner == "pg_database_owner" {
			owners[i], err = databaseOwner(ctx, tx)
		}
	}
	return owners, err
}

// What each object type's privileges are read from: the object's name, its access list, its owner and
// the letter that acldefault wants.
var accessLists = map[string]string{
	"database": `SELECT datname AS name, datacl AS acl, datdba AS owner, 'd' AS letter FROM pg_catalog.pg_database
		WHERE datname = $2 AND $3::text IS NOT NULL`,
	"schema": `SELECT nspname, nspacl, nspowner, 'n' FROM pg_catalog.pg_namespace
		WHERE nspname = $3 AND $2::text IS NOT NULL`,
	"table":    relationsOf("'r', 'p', 'v', 'm', 'f'", "r"),
	"sequence": relationsOf("'S'", "s"),
	"column": `SELECT a.attname, a.attacl, c.relowner, 'c' FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3)
		AND c.relname = ANY($4) AND a.attname = ANY($5) AND $2::text IS NOT NULL`,
	"function":  routinesOf("'f', 'a', 'w'"),
	"procedure": routinesOf("'p'"),
	"routine":   routinesOf("'f', 'a', 'w', 'p'"),
	"foreign_data_wrapper": `SELECT fdwname, fdwacl, fdwowner, 'F' FROM pg_catalog.pg_foreign_data_wrapper
		WHERE fdwname = ANY($4) AND $2::text IS NOT NULL`,
	"foreign_server": `SELECT srvname, srvacl, srvowner, 'S' FROM pg_catalog.pg_foreign_server
		WHERE srvname = ANY($4) AND $2::text IS NOT NULL`,
}

func relationsOf(kinds, letter string) string {
	return fmt.Sprintf(`SELECT relname, relacl, relowner, '%s' FROM pg_catalog.pg_class
		WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3) AND relkind IN (%s)
		AND (cardinality($4::text[]) = 0 OR relname = ANY($4)) AND $2::text IS NOT NULL`, letter, kinds)
}

func routinesOf(kinds string) string {
	return fmt.Sprintf(`SELECT proname, proacl, proowner, 'f' FROM pg_catalog.pg_proc
		WHERE pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $3) AND prokind IN (%s)
		AND (cardinality($4::text[]) = 0 OR proname = ANY($4)) AND $2::text IS NOT NULL`, kinds)
}

// granted says whether the role has exactly the privileges asked for on every object there is.
func (in GrantInputs) granted(ctx context.Context, tx pgx.Tx) (bool, error) {
	objects := []string{}
	for _, object := range orDefault(in.Objects, nil) {
		name, _, _ := strings.Cut(object, "(")
		objects = append(objects, name)
	}
	// $2 to $5 are all mentioned whatever the object type, because the server must infer their types.
	rows, err := tx.Query(ctx, `
		SELECT ARRAY(
			SELECT privilege_type::text FROM pg_catalog.aclexplode(COALESCE(acl, pg_catalog.acldefault(letter::"char", owner)))
			WHERE grantee = CASE WHEN $1 = 'public' THEN 0
				ELSE (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1) END
		) FROM (`+accessLists[in.ObjectType]+`) AS objects (name, acl, owner, letter)
		WHERE cardinality($4::text[]) >= 0 AND cardinality($5::text[]) >= 0`,
		in.roleKey(), in.Database, orDefault(in.Schema, ""), objects, orDefault(in.Columns, []string{}))
	if err != nil {
		return false, fmt.Errorf("cannot read the privileges of role %s: %w", in.Role, err)
	}
	lists, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		return false, fmt.Errorf("cannot read the privileges of role %s: %w", in.Role, err)
	}
	for _, privileges := range lists {
		if !samePrivileges(in.ObjectType, privileges, in.Privileges) {
			return false, nil
		}
	}
	return true, nil
}

func (in GrantInputs) roleKey() string {
	if isPublic(in.Role) {
		return "public"
	}
	return in.Role
}
