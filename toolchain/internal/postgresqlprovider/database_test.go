package postgresqlprovider_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"

	. "togather.example/toolchain/internal/providertest"
)

func TestDatabase(t *testing.T) {
	s := startAsSuperuser(t)
	owner, other := newRole(t, ""), newRole(t, "")
	name := unique(t, "database")
	inputs := Props(map[string]any{"name": name, "owner": owner})
	r := s.Create(t, databaseToken, "d", inputs)
	if string(r.ID) != name {
		t.Errorf("the id is %q, want %q", r.ID, name)
	}
	has(t, r.Outputs, map[string]any{
		"name": name, "owner": owner, "encoding": "UTF8", "template": "template0", "tablespaceName": "pg_default",
		"connectionLimit": -1.0, "allowConnections": true, "isTemplate": false,
	})
	if diff := s.Diff(t, r, inputs); diff.Changes != plugin.DiffNone {
		t.Errorf("equal inputs give %+v", diff)
	}
	if _, err := s.TryCreate(t, databaseToken, "again", inputs); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a database that exists gives %v", err)
	}
	for _, property := range []string{"template", "encoding", "lcCollate", "lcCtype"} {
		diff := s.Diff(t, r, with(inputs, map[string]any{property: "C"}))
		if len(diff.DetailedDiff) != 1 || !diff.DetailedDiff[property].Kind.IsReplace() {
			t.Errorf("another %s gives %+v, want a replacement", property, diff.DetailedDiff)
		}
	}

	conn := admin(t, name)
	exec(t, conn, "CREATE TABLE things ()")
	exec(t, conn, "ALTER TABLE things OWNER TO %s", quote(owner))
	conn.Close(context.Background())
	renamed := unique(t, "database")
	changed := with(inputs, map[string]any{
		"name": renamed, "owner": other, "connectionLimit": 9.0, "isTemplate": true, "alterObjectOwnership": true,
	})
	if diff := s.Diff(t, r, changed); len(diff.ReplaceKeys) > 0 {
		t.Errorf("%+v, want an update in place", diff)
	}
	s.Update(t, r, changed)
	has(t, r.Outputs, map[string]any{"name": renamed, "owner": other, "connectionLimit": 9.0, "isTemplate": true})
	conn = admin(t, renamed)
	if got := query[string](t, conn, "SELECT tableowner FROM pg_tables WHERE tablename = 'things'"); got != other {
		t.Errorf("the table belongs to %q, want %q", got, other)
	}
	conn.Close(context.Background())

	exec(t, admin(t, "postgres"), "ALTER DATABASE %s CONNECTION LIMIT 1", quote(renamed))
	if !s.Refresh(t, r) {
		t.Fatal("the database is gone")
	}
	if diff := s.Diff(t, r, changed); len(diff.DetailedDiff) != 1 || diff.DetailedDiff["connectionLimit"].Kind != plugin.DiffUpdate {
		t.Errorf("drift gives %+v", diff.DetailedDiff)
	}
	s.Delete(t, r) // A template, too.
	if s.Refresh(t, r) {
		t.Error("the database is still there")
	}
	s.Delete(t, r)
}

func TestDatabaseImport(t *testing.T) {
	s := startAsSuperuser(t)
	name := newDatabase(t, newRole(t, ""))
	r, found := s.Import(t, databaseToken, "d", resource.ID(name))
	if !found {
		t.Fatal("the database is not found")
	}
	has(t, r.Inputs, map[string]any{"name": name})
	if diff := s.Diff(t, r, Props(map[string]any{"name": name})); diff.Changes != plugin.DiffNone {
		t.Errorf("what was imported differs from what is there: %+v", diff.DetailedDiff)
	}
}

func TestSchemaResource(t *testing.T) {
	s := startAsSuperuser(t)
	owner := newRole(t, "")
	database := newDatabase(t, owner)
	inputs := Props(map[string]any{"name": "my Schema", "database": database, "owner": owner})
	r := s.Create(t, schemaToken, "s", inputs)
	if string(r.ID) != database+".my Schema" {
		t.Errorf("the id is %q", r.ID)
	}
	has(t, r.Outputs, map[string]any{"owner": owner, "database": database})
	s.Create(t, schemaToken, "taken over", inputs)
	if _, err := s.TryCreate(t, schemaToken, "s", with(inputs, map[string]any{"ifNotExists": false})); err == nil {
		t.Error("an existing schema is taken over although it must not")
	}
	if diff := s.Diff(t, r, with(inputs, map[string]any{"database": "other"})); !diff.DetailedDiff["database"].Kind.IsReplace() {
		t.Errorf("another database gives %+v", diff.DetailedDiff)
	}
	inputs = with(inputs, map[string]any{"name": "renamed", "owner": serverURL(t).User.Username(), "dropCascade": true})
	s.Update(t, r, inputs)
	has(t, r.Outputs, map[string]any{"name": "renamed", "owner": serverURL(t).User.Username()})
	if !s.Refresh(t, r) {
		t.Fatal("the schema is gone")
	}
	if diff := s.Diff(t, r, inputs); diff.Changes != plugin.DiffNone {
		t.Errorf("after a refresh: %+v", diff.DetailedDiff)
	}
	exec(t, admin(t, database), "CREATE TABLE renamed.things ()")
	s.Delete(t, r)
	if s.Refresh(t, r) {
		t.Error("the schema is still there")
	}
}

func TestExtension(t *testing.T) {
	s := startAsSuperuser(t)
	database := newDatabase(t, newRole(t, ""))
	inputs := Props(map[string]any{"name": "pg_trgm", "database": database})
	r := s.Create(t, extensionToken, "e", inputs)
	if string(r.ID) != database+".pg_trgm" {
		t.Errorf("the id is %q", r.ID)
	}
	has(t, r.Outputs, map[string]any{"schema": "public", "database": database})
	version := r.Outputs["version"].StringValue()
	if version == "" {
		t.Error("there is no version")
	}
	s.Create(t, extensionToken, "taken over", inputs)
	has(t, s.Create(t, extensionToken, "pg_trgm", Props(map[string]any{"database": database})).Outputs, map[string]any{"name": "pg_trgm"})

	// infer itself would take `version` for the plugin's.
	pinned := with(inputs, map[string]any{"version": version})
	if diff := s.Diff(t, r, pinned); diff.DetailedDiff["version"].Kind != plugin.DiffAdd {
		t.Errorf("a pinned version gives %+v", diff.DetailedDiff)
	}
	s.Update(t, r, pinned)
	if diff := s.Diff(t, r, pinned); diff.Changes != plugin.DiffNone {
		t.Errorf("equal inputs give %+v", diff.DetailedDiff)
	}
	if diff := s.Diff(t, r, with(pinned, map[string]any{"version": "0.1"})); diff.Changes != plugin.DiffSome || len(diff.ReplaceKeys) > 0 {
		t.Errorf("another version gives %+v, want an update in place", diff)
	}
	if diff := s.Diff(t, r, inputs); diff.DetailedDiff["version"].Kind != plugin.DiffDelete {
		t.Errorf("a version no longer pinned gives %+v", diff.DetailedDiff)
	}

	exec(t, admin(t, database), "CREATE SCHEMA extensions")
	moved := with(pinned, map[string]any{"schema": "extensions"})
	s.Update(t, r, moved)
	has(t, r.Outputs, map[string]any{"schema": "extensions"})
	if !s.Refresh(t, r) {
		t.Fatal("the extension is gone")
	}
	if diff := s.Diff(t, r, moved); diff.Changes != plugin.DiffNone {
		t.Errorf("after a refresh: %+v", diff.DetailedDiff)
	}
	imported, found := s.Import(t, extensionToken, "e", r.ID)
	if !found {
		t.Fatal("the extension is not found")
	}
	has(t, imported.Inputs, map[string]any{"name": "pg_trgm", "database": database})
	s.Delete(t, r)
	if s.Refresh(t, r) {
		t.Error("the extension is still there")
	}
	exec(t, admin(t, "postgres"), "DROP DATABASE %s WITH (FORCE)", quote(database))
	if s.Refresh(t, r) {
		t.Error("an extension is found in a database that is gone")
	}
}

func TestAnotherServerOrPasswordReplacesNothing(t *testing.T) {
	s := startAsSuperuser(t)
	urn := resource.NewURN("test", "test", "", "pulumi:providers:postgresql", "provider")
	before := Props(map[string]any{"host": "a", "port": "5432", "password": "x"})
	after := Props(map[string]any{"host": "b", "port": "5433", "password": "y", "sslmode": "disable"})
	diff, err := s.DiffConfig(context.Background(), plugin.DiffConfigRequest{
		URN: urn, OldInputs: before, OldOutputs: before, NewInputs: after, AllowUnknowns: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, change := range diff.DetailedDiff {
		if change.Kind.IsReplace() {
			t.Errorf("another %s replaces the provider, and with it all that it made", path)
		}
	}
	if diff.Changes != plugin.DiffSome || len(diff.ReplaceKeys) > 0 {
		t.Errorf("%+v, want an update of the provider in place", diff)
	}
}

func TestConfiguration(t *testing.T) {
	s := startAsSuperuser(t)
	urn := resource.NewURN("test", "test", "", "pulumi:providers:postgresql", "provider")
	check := func(config resource.PropertyMap) plugin.CheckConfigResponse {
		t.Helper()
		resp, err := s.CheckConfig(context.Background(), plugin.CheckConfigRequest{URN: urn, News: config, AllowUnknowns: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Failures) > 0 {
			t.Errorf("%v", resp.Failures)
		}
		return resp
	}
	// A password of digits is no number.
	config := Props(map[string]any{"host": "h", "port": "6000", "superuser": "false", "connectTimeout": "5"})
	config["password"] = Secret("1234567")
	resp := check(config)
	has(t, resp.Properties, map[string]any{"port": 6000.0, "superuser": false, "password": "1234567"})
	if !resp.Properties["password"].IsSecret() {
		t.Error("the password is plain")
	}
	// A first preview knows neither host nor port.
	unknown := resource.MakeComputed(resource.NewProperty(""))
	check(resource.PropertyMap{"host": unknown, "port": unknown, "password": resource.MakeSecret(unknown)})
}
