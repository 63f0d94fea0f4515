package postgresqlprovider_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"

	. "togather.example/toolchain/internal/providertest"
)

// A database with a schema `shop` that an owner fills, and a role `app` that may not do anything yet.
type shop struct {
	owner, app, database string
	owns, buys           func(t *testing.T, statement string) error
}

func newShop(t *testing.T) shop {
	t.Helper()
	s := shop{owner: newRole(t, "LOGIN PASSWORD 'owner'"), app: newRole(t, "LOGIN PASSWORD 'app'")}
	s.database = newDatabase(t, s.owner)
	run := func(user, password string) func(*testing.T, string) error {
		return func(t *testing.T, statement string) error {
			t.Helper()
			conn := as(t, user, password, s.database)
			defer conn.Close(context.Background())
			_, err := conn.Exec(context.Background(), statement)
			return err
		}
	}
	s.owns, s.buys = run(s.owner, "owner"), run(s.app, "app")
	s.must(t, s.owns(t, `CREATE SCHEMA shop; CREATE TABLE shop.goods (id serial, name text, price int);
		CREATE FUNCTION shop.discount(int) RETURNS int LANGUAGE sql AS 'SELECT $1 / 2';
		REVOKE EXECUTE ON FUNCTION shop.discount FROM PUBLIC; INSERT INTO shop.goods (name) VALUES ('tea')`))
	t.Cleanup(func() { // Before the roles go.
		conn := admin(t, "postgres")
		exec(t, conn, "DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(s.database))
	})
	return s
}

func (s shop) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s shop) may(t *testing.T, statement string) {
	t.Helper()
	if err := s.buys(t, statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

func (s shop) mayNot(t *testing.T, statement string) {
	t.Helper()
	if err := s.buys(t, statement); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%s: %v, want permission denied", statement, err)
	}
}

func (s shop) grant(more map[string]any) resource.PropertyMap {
	return with(Props(map[string]any{"role": s.app, "database": s.database, "schema": "shop"}), more)
}

func TestGrantsOnEverything(t *testing.T) {
	p := startAsSuperuser(t)
	s := newShop(t)
	grant := func(id string, more map[string]any) *Resource {
		t.Helper()
		r := p.Create(t, grantToken, "g", s.grant(more))
		if string(r.ID) != id {
			t.Errorf("the id is %q, want %q", r.ID, id)
		}
		if !p.Refresh(t, r) {
			t.Fatal("the grant is not there")
		}
		if diff := p.Diff(t, r, s.grant(more)); diff.Changes != plugin.DiffNone {
			t.Errorf("after a refresh: %+v", diff.DetailedDiff)
		}
		return r
	}
	prefix := s.app + "_" + s.database + "_"

	s.mayNot(t, "SELECT FROM shop.goods")
	usage := grant(prefix+"shop_schema", map[string]any{"objectType": "schema", "privileges": []any{"USAGE"}})
	tables := grant(prefix+"shop_table", map[string]any{"objectType": "table", "privileges": []any{"SELECT", "INSERT"}})
	s.may(t, "SELECT FROM shop.goods")
	s.mayNot(t, "INSERT INTO shop.goods (name) VALUES ('milk')") // No sequence yet.
	grant(prefix+"shop_sequence", map[string]any{"objectType": "sequence", "privileges": []any{"USAGE"}})
	s.may(t, "INSERT INTO shop.goods (name) VALUES ('milk')")
	s.mayNot(t, "DELETE FROM shop.goods")
	s.mayNot(t, "SELECT shop.discount(4)")
	grant(prefix+"shop_function_discount(integer)", map[string]any{
		"objectType": "function", "objects": []any{"discount(integer)"}, "privileges": []any{"EXECUTE"},
	})
	s.may(t, "SELECT shop.discount(4)")
	grant(prefix+"shop_column_goods_price", map[string]any{
		"objectType": "column", "objects": []any{"goods"}, "columns": []any{"price"}, "privileges": []any{"UPDATE"},
	})
	s.may(t, "UPDATE shop.goods SET price = 1")
	s.mayNot(t, "UPDATE shop.goods SET name = ''")
	s.mayNot(t, "CREATE SCHEMA mine")
	onDatabase := grant(prefix+"database", map[string]any{"objectType": "database", "schema": nil, "privileges": []any{"CREATE", "CONNECT"}})
	s.may(t, "CREATE SCHEMA mine; DROP SCHEMA mine")

	// A change of privileges is made in place, and also takes away.
	fewer := s.grant(map[string]any{"objectType": "table", "privileges": []any{"SELECT"}})
	if diff := p.Diff(t, tables, fewer); diff.Changes != plugin.DiffSome || len(diff.ReplaceKeys) > 0 {
		t.Errorf("fewer privileges give %+v, want an update in place", diff)
	}
	p.Update(t, tables, fewer)
	s.mayNot(t, "INSERT INTO shop.goods (name) VALUES ('milk')")
	p.Update(t, tables, s.grant(map[string]any{"objectType": "table", "privileges": []any{}}))
	s.mayNot(t, "SELECT FROM shop.goods")
	p.Update(t, tables, s.grant(map[string]any{"objectType": "table", "privileges": []any{"ALL"}}))
	s.may(t, "DELETE FROM shop.goods")
	if !p.Refresh(t, tables) {
		t.Fatal("the grant is not there")
	}
	if diff := p.Diff(t, tables, s.grant(map[string]any{"objectType": "table", "privileges": []any{"ALL"}})); diff.Changes != plugin.DiffNone {
		t.Errorf("ALL after a refresh: %+v", diff.DetailedDiff)
	}

	for _, r := range []*Resource{tables, usage, onDatabase} {
		p.Delete(t, r)
	}
	s.mayNot(t, "SELECT FROM shop.goods")
	s.mayNot(t, "CREATE SCHEMA mine")
}

func TestGrantReplacements(t *testing.T) {
	p := startAsSuperuser(t)
	s := newShop(t)
	inputs := s.grant(map[string]any{"objectType": "table", "objects": []any{"goods"}, "privileges": []any{"SELECT"}})
	r := p.Create(t, grantToken, "g", inputs)
	if string(r.ID) != s.app+"_"+s.database+"_shop_table_goods" {
		t.Errorf("the id is %q", r.ID)
	}
	for property, value := range map[string]any{
		"role": "other", "database": "other", "schema": "other", "objectType": "sequence",
		"objects": []any{"other"}, "withGrantOption": true,
	} {
		change := map[string]any{property: value}
		if property == "objectType" {
			change["privileges"] = []any{"SELECT"}
		}
		replaces := false
		for _, d := range p.Diff(t, r, with(inputs, change)).DetailedDiff {
			replaces = replaces || d.Kind.IsReplace()
		}
		if !replaces {
			t.Errorf("another %s does not replace the grant", property)
		}
	}
}

func TestGrantRefreshFindsDrift(t *testing.T) {
	p := startAsSuperuser(t)
	s := newShop(t)
	inputs := s.grant(map[string]any{"objectType": "table", "privileges": []any{"SELECT"}})
	r := p.Create(t, grantToken, "g", inputs)
	s.must(t, s.owns(t, "CREATE TABLE shop.later ()"))
	if !p.Refresh(t, r) {
		t.Fatal("the grant is gone")
	}
	if diff := p.Diff(t, r, inputs); diff.Changes != plugin.DiffSome {
		t.Error("a refresh does not see the table that came later")
	}
	p.Update(t, r, inputs)
	if !p.Refresh(t, r) {
		t.Fatal("the grant is gone")
	}
	if diff := p.Diff(t, r, inputs); diff.Changes != plugin.DiffNone {
		t.Errorf("after the update: %+v", diff.DetailedDiff)
	}
	s.must(t, s.owns(t, "DROP SCHEMA shop CASCADE"))
	if p.Refresh(t, r) {
		t.Error("a refresh finds a grant in a schema that is gone")
	}
	p.Delete(t, r)
}

func TestGrantToPublic(t *testing.T) {
	p := startAsSuperuser(t)
	s := newShop(t)
	inputs := s.grant(map[string]any{"role": "public", "objectType": "schema", "privileges": []any{"USAGE"}})
	r := p.Create(t, grantToken, "g", inputs)
	s.mayNot(t, "SELECT FROM shop.goods")
	tables := p.Create(t, grantToken, "t", s.grant(map[string]any{"role": "public", "objectType": "table", "privileges": []any{"SELECT"}}))
	s.may(t, "SELECT FROM shop.goods")
	for _, r := range []*Resource{r, tables} {
		if !p.Refresh(t, r) {
			t.Error("the grant is not found")
		}
	}
	if len(r.Outputs["privileges"].ArrayValue()) != 1 || len(tables.Outputs["privileges"].ArrayValue()) != 1 {
		t.Error("a refresh does not see what everybody may")
	}
}

func TestGrantRefusals(t *testing.T) {
	p := startAsSuperuser(t)
	for name, inputs := range map[string]map[string]any{
		"privilege":   {"role": "r", "database": "d", "objectType": "database", "privileges": []any{"SELECT"}},
		"object type": {"role": "r", "database": "d", "objectType": "planet", "privileges": []any{"SELECT"}},
		"no schema":   {"role": "r", "database": "d", "objectType": "table", "privileges": []any{"SELECT"}},
		"objects":     {"role": "r", "database": "d", "schema": "s", "objectType": "schema", "objects": []any{"o"}, "privileges": []any{"USAGE"}},
		"no columns":  {"role": "r", "database": "d", "schema": "s", "objectType": "column", "objects": []any{"o"}, "privileges": []any{"SELECT"}},
		"public":      {"role": "public", "database": "d", "objectType": "database", "privileges": []any{"CONNECT"}, "withGrantOption": true},
		"no role":     {"database": "d", "objectType": "database", "privileges": []any{"CONNECT"}},
	} {
		if _, failures := p.Check(t, grantToken, "g", nil, Props(inputs)); len(failures) == 0 {
			t.Errorf("%s: nothing is wrong with %v", name, inputs)
		}
	}
	// In a first preview nothing is known.
	unknown := resource.MakeComputed(resource.NewProperty(""))
	inputs := resource.PropertyMap{
		"role": unknown, "database": unknown, "schema": unknown, "objectType": resource.NewProperty("table"),
		"privileges": resource.NewProperty([]resource.PropertyValue{unknown}),
	}
	outputs := p.Preview(t, grantToken, "g", inputs)
	if !outputs["role"].IsComputed() {
		t.Errorf("an unknown role becomes %v", outputs["role"])
	}
}

func TestDefaultPrivileges(t *testing.T) {
	p := startAsSuperuser(t)
	s := newShop(t)
	p.Create(t, grantToken, "usage", s.grant(map[string]any{"objectType": "schema", "privileges": []any{"USAGE"}}))
	inputs := s.grant(map[string]any{"owner": s.owner, "objectType": "table", "privileges": []any{"SELECT", "INSERT"}})
	r := p.Create(t, defaultPrivilegesToken, "d", inputs)
	if want := strings.Join([]string{s.app, s.database, "shop", s.owner, "table"}, "_"); string(r.ID) != want {
		t.Errorf("the id is %q, want %q", r.ID, want)
	}
	s.must(t, s.owns(t, "CREATE TABLE shop.later (id int)"))
	s.may(t, "INSERT INTO shop.later VALUES (1)")
	s.mayNot(t, "DELETE FROM shop.later")
	s.mayNot(t, "SELECT FROM shop.goods")
	if !p.Refresh(t, r) {
		t.Fatal("the privileges are not found")
	}
	if diff := p.Diff(t, r, inputs); diff.Changes != plugin.DiffNone {
		t.Errorf("after a refresh: %+v", diff.DetailedDiff)
	}
	fewer := with(inputs, map[string]any{"privileges": []any{"SELECT"}})
	if diff := p.Diff(t, r, fewer); len(diff.ReplaceKeys) > 0 {
		t.Errorf("%+v, want an update in place", diff)
	}
	p.Update(t, r, fewer)
	s.must(t, s.owns(t, "CREATE TABLE shop.last (id int)"))
	s.mayNot(t, "INSERT INTO shop.last VALUES (1)")
	p.Delete(t, r)
	if p.Refresh(t, r) {
		t.Error("the privileges are still there")
	}
	everywhere := with(inputs, map[string]any{"privileges": []any{"SELECT"}})
	delete(everywhere, "schema")
	r = p.Create(t, defaultPrivilegesToken, "e", everywhere)
	if !strings.Contains(string(r.ID), "_noschema_") || !p.Refresh(t, r) {
		t.Errorf("without a schema: id %q", r.ID)
	}
	p.Delete(t, r)
	for name, wrong := range map[string]map[string]any{
		"object type": {"objectType": "database"}, "privilege": {"privileges": []any{"USAGE"}},
	} {
		if _, failures := p.Check(t, defaultPrivilegesToken, "d", nil, with(inputs, wrong)); len(failures) == 0 {
			t.Errorf("%s: nothing is wrong with %v", name, wrong)
		}
	}
}

// Without taking turns, some of these end in "tuple concurrently updated".
func TestManyChangesAtOnce(t *testing.T) {
	p := startAsSuperuser(t)
	s := newShop(t)
	var all sync.WaitGroup
	for _, kind := range []string{"schema", "database"} {
		for range 8 {
			role := newRole(t, "")
			all.Go(func() {
				privileges := map[string][]any{"schema": {"USAGE"}, "database": {"CONNECT"}}[kind]
				r, err := p.TryCreate(t, grantToken, "g", s.grant(map[string]any{"role": role, "objectType": kind, "privileges": privileges}))
				if err == nil {
					err = p.TryDelete(r)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
}

// As on managed servers: an admin that may create roles and databases, and is no superuser.
func TestWithoutASuperuser(t *testing.T) {
	adminRole := newRole(t, "LOGIN CREATEROLE CREATEDB PASSWORD 'admin'")
	p := start(t, adminRole, "admin")
	owner, app, database := unique(t, "owner"), unique(t, "app"), unique(t, "database")
	create := func(token string, inputs map[string]any) *Resource {
		t.Helper()
		return p.Create(t, token, "x", Props(inputs))
	}
	ownerInputs := map[string]any{"name": owner, "login": true, "password": "owner"}
	ownerRole := create(roleToken, ownerInputs)
	appRole := create(roleToken, map[string]any{"name": app, "login": true, "password": "app"})
	resources := []*Resource{
		ownerRole, appRole,
		create(databaseToken, map[string]any{"name": database, "owner": owner}),
		create(schemaToken, map[string]any{"name": "shop", "database": database, "owner": owner}),
		create(grantToken, map[string]any{"role": app, "database": database, "schema": "shop", "objectType": "schema", "privileges": []any{"USAGE"}}),
		create(defaultPrivilegesToken, map[string]any{
			"role": app, "database": database, "owner": owner, "schema": "shop", "objectType": "table", "privileges": []any{"SELECT"},
		}),
		create(extensionToken, map[string]any{"name": "pg_trgm", "database": database}),
	}
	ownerInputs["connectionLimit"] = 5.0
	p.Update(t, ownerRole, Props(ownerInputs))
	exec(t, as(t, owner, "owner", database), "CREATE TABLE shop.goods ()")
	reader := as(t, app, "app", database)
	exec(t, reader, "SELECT FROM shop.goods")
	refused(t, reader, "INSERT INTO shop.goods DEFAULT VALUES")
	tables := create(grantToken, map[string]any{"role": app, "database": database, "schema": "shop", "objectType": "table", "privileges": []any{"INSERT"}})
	exec(t, reader, "INSERT INTO shop.goods DEFAULT VALUES")
	resources = append(resources, tables)

	conn := admin(t, "postgres")
	if query[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_auth_members m WHERE pg_get_userbyid(member) = $1
		AND pg_get_userbyid(roleid) = $2 AND to_jsonb(m) ->> 'inherit_option' IS DISTINCT FROM 'false')`, adminRole, owner) {
		t.Error("the admin stays a member of the owner")
	}
	exec(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", database)
	exec(t, admin(t, database), "DROP TABLE shop.goods")
	exec(t, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", database)
	for i := len(resources) - 1; i >= 0; i-- {
		if err := p.TryDelete(resources[i]); err != nil {
			t.Errorf("%s: %v", resources[i].URN.Type(), err)
		}
	}
}
