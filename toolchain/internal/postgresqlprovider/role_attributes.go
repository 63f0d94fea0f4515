package postgresqlprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

const forever = "infinity"

// roleAttributes is a role as the server has it.
type roleAttributes struct {
	login, superuser, createDatabase, createRole bool
	inherit, replication, bypassRLS              bool
	connectionLimit                              int
	validUntil                                   string
	roles                                        []string
	config                                       map[string]string
}

// readRole returns nil for a role that does not exist.
func readRole(ctx context.Context, db querier, name string) (*roleAttributes, error) {
	r := &roleAttributes{config: map[string]string{}}
	var config []string
	err := db.QueryRow(ctx, `
		SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolreplication, rolbypassrls,
			rolconnlimit, COALESCE(rolvaliduntil::text, 'infinity'), COALESCE(rolconfig, '{}'),
			ARRAY(SELECT pg_catalog.pg_get_userbyid(roleid)::text FROM pg_catalog.pg_auth_members
				WHERE member = r.oid ORDER BY 1)
		FROM pg_catalog.pg_roles r WHERE rolname = $1`, name).
		Scan(&r.login, &r.superuser, &r.createDatabase, &r.createRole, &r.inherit, &r.replication, &r.bypassRLS,
			&r.connectionLimit, &r.validUntil, &config, &r.roles)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read role %s: %w", name, err)
	}
	for _, setting := range config {
		key, value, _ := strings.Cut(setting, "=")
		r.config[key] = value
	}
	return r, nil
}

func (r *roleAttributes) searchPaths() []string {
	value := r.config["search_path"]
	if value == "" {
		return nil
	}
	paths := strings.Split(value, ", ")
	for i := range paths {
		paths[i] = strings.ReplaceAll(strings.Trim(paths[i], `"`), `""`, `"`)
	}
	return paths
}

// milliseconds reads a timeout, which the server keeps as it was written: 5000, 5s or 5min.
func (r *roleAttributes) milliseconds(setting string) int {
	value := r.config[setting]
	for _, unit := range []struct {
		suffix string
		factor int
	}{{"min", 60_000}, {"ms", 1}, {"s", 1000}, {"h", 3_600_000}, {"", 1}} {
		if number, ok := strings.CutSuffix(value, unit.suffix); ok {
			if n, err := strconv.Atoi(number); err == nil {
				return n * unit.factor
			}
		}
	}
	return 0
}

// options are the attributes of ALTER ROLE that have to change.
func (r *roleAttributes) options(in RoleInputs) []string {
	var options []string
	for _, o := range []struct {
		now     bool
		want    *bool
		unset   bool
		keyword string
	}{
		{r.login, in.Login, false, "LOGIN"},
		{r.superuser, in.Superuser, false, "SUPERUSER"},
		{r.createDatabase, in.CreateDatabase, false, "CREATEDB"},
		{r.createRole, in.CreateRole, false, "CREATEROLE"},
		{r.inherit, in.Inherit, true, "INHERIT"},
		{r.replication, in.Replication, false, "REPLICATION"},
		{r.bypassRLS, in.BypassRowLevelSecurity, false, "BYPASSRLS"},
	} {
		if want := orDefault(o.want, o.unset); want != o.now {
			if !want {
				o.keyword = "NO" + o.keyword
			}
			options = append(options, o.keyword)
		}
	}
	if limit := orDefault(in.ConnectionLimit, -1); limit != r.connectionLimit {
		options = append(options, fmt.Sprintf("CONNECTION LIMIT %d", limit))
	}
	if until := validUntil(in); until != r.validUntil {
		options = append(options, "VALID UNTIL "+literal(until))
	}
	return options
}

func validUntil(in RoleInputs) string {
	until := orDefault(in.ValidUntil, forever)
	if until == "" || strings.EqualFold(until, "NULL") || strings.EqualFold(until, forever) {
		return forever
	}
	return until
}

// memberships are the statements that make the role a member of what the inputs say, and of no other.
func (r *roleAttributes) memberships(in RoleInputs) []string {
	want := orDefault(in.Roles, nil)
	var statements []string
	for _, role := range r.roles {
		if !slices.Contains(want, role) {
			statements = append(statements, fmt.Sprintf("REVOKE %s FROM %s", ident(role), ident(in.Name)))
		}
	}
	for _, role := range want {
		if !slices.Contains(r.roles, role) {
			statements = append(statements, fmt.Sprintf("GRANT %s TO %s", ident(role), ident(in.Name)))
		}
	}
	return statements
}

// settings are the statements for what a session of the role begins with.
func (r *roleAttributes) settings(in RoleInputs) []string {
	var statements []string
	set := func(setting, value string) {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s SET %s TO %s", ident(in.Name), setting, value))
	}
	reset := func(setting string) {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s RESET %s", ident(in.Name), setting))
	}
	if paths := orDefault(in.SearchPaths, nil); !slices.Equal(paths, r.searchPaths()) {
		if len(paths) == 0 {
			reset("search_path")
		} else {
			set("search_path", idents(paths))
		}
	}
	for setting, want := range map[string]int{
		"statement_timeout":                   orDefault(in.StatementTimeout, 0),
		"idle_in_transaction_session_timeout": orDefault(in.IdleInTransactionSessionTimeout, 0),
	} {
		if want == r.milliseconds(setting) {
			continue
		}
		if want == 0 {
			reset(setting)
		} else {
			set(setting, strconv.Itoa(want))
		}
	}
	if assume := orDefault(in.AssumeRole, ""); assume != r.config["role"] {
		if assume == "" {
			reset("role")
		} else {
			set("role", ident(assume))
		}
	}
	return statements
}

// observed returns the inputs as the server has them.
func (r *roleAttributes) observed(in RoleInputs) RoleInputs {
	in.Login = observe(in.Login, r.login, false)
	in.Superuser = observe(in.Superuser, r.superuser, false)
	in.CreateDatabase = observe(in.CreateDatabase, r.createDatabase, false)
	in.CreateRole = observe(in.CreateRole, r.createRole, false)
	in.Inherit = observe(in.Inherit, r.inherit, true)
	in.Replication = observe(in.Replication, r.replication, false)
	in.BypassRowLevelSecurity = observe(in.BypassRowLevelSecurity, r.bypassRLS, false)
	in.ConnectionLimit = observe(in.ConnectionLimit, r.connectionLimit, -1)
	if validUntil(in) != r.validUntil {
		in.ValidUntil = &r.validUntil
	}
	if !sameSet(orDefault(in.Roles, nil), r.roles) {
		in.Roles = &r.roles
	}
	if paths := r.searchPaths(); !slices.Equal(orDefault(in.SearchPaths, nil), paths) {
		in.SearchPaths = &paths
	}
	in.StatementTimeout = observe(in.StatementTimeout, r.milliseconds("statement_timeout"), 0)
	in.IdleInTransactionSessionTimeout = observe(
		in.IdleInTransactionSessionTimeout, r.milliseconds("idle_in_transaction_session_timeout"), 0)
	in.AssumeRole = observe(in.AssumeRole, r.config["role"], "")
	return in
}
