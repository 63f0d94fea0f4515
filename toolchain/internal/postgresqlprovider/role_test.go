package postgresqlprovider_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"

	. "togather.example/toolchain/internal/providertest"
)

// Passwords with all that could break out of a literal.
const trickyPassword = `it's "a" \ $1 -- ; '' é`

func TestRoleLogsIn(t *testing.T) {
	s := startAsSuperuser(t)
	name := unique(t, "role")
	inputs := Props(map[string]any{"name": name, "login": true, "connectionLimit": 7.0})
	inputs["password"] = Secret(trickyPassword)
	r := s.Create(t, roleToken, "r", inputs)
	if string(r.ID) != name {
		t.Errorf("the id is %q, want the name %q", r.ID, name)
	}
	if !r.Outputs["password"].IsSecret() {
		t.Error("the password is plain in the state")
	}
	as(t, name, trickyPassword, "postgres").Close(context.Background())

	if diff := s.Diff(t, r, inputs); diff.Changes != plugin.DiffNone {
		t.Errorf("equal inputs give %+v", diff)
	}
	inputs["password"] = Secret("another")
	if diff := s.Diff(t, r, inputs); diff.Changes != plugin.DiffSome || len(diff.ReplaceKeys) > 0 {
		t.Errorf("a new password gives %+v, want an update in place", diff)
	}
	s.Update(t, r, inputs)
	as(t, name, "another", "postgres").Close(context.Background())
	if _, err := connect(t, name, trickyPassword, "postgres"); err == nil {
		t.Error("the old password still works")
	}

	delete(inputs, "password")
	s.Update(t, r, inputs)
	if _, err := connect(t, name, "another", "postgres"); err == nil {
		t.Error("a removed password still works")
	}
	s.Delete(t, r)
	if query[bool](t, admin(t, "postgres"), "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name) {
		t.Error("the role is still there")
	}
	s.Delete(t, r) // Gone already: nothing to do.
}

func TestRoleAttributesChangeInPlace(t *testing.T) {
	s := startAsSuperuser(t)
	group, other := newRole(t, ""), newRole(t, "")
	name := unique(t, "role")
	t.Cleanup(func() { exec(t, admin(t, "postgres"), "DROP ROLE IF EXISTS %s", quote(name)) })
	bare := Props(map[string]any{"name": name})
	r := s.Create(t, roleToken, "r", bare)
	attributes := func() string {
		return query[string](t, admin(t, "postgres"), `SELECT concat_ws(' ', rolcanlogin, rolsuper, rolcreatedb, rolcreaterole,
			rolinherit, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil AT TIME ZONE 'UTC',
			ARRAY(SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = r.oid)::text, rolconfig::text)
			FROM pg_roles r WHERE rolname = $1`, name)
	}
	before := attributes()
	if before != "f f f f t f f -1 {}" {
		t.Errorf("a bare role has %q", before)
	}

	full := Props(map[string]any{
		"name": name, "login": true, "superuser": true, "createDatabase": true, "createRole": true, "inherit": false,
		"replication": true, "bypassRowLevelSecurity": true, "connectionLimit": 3.0, "validUntil": "2031-02-03 04:05:06+00",
		"roles": []any{group}, "searchPaths": []any{"a b", "public"}, "statementTimeout": 5000.0,
		"idleInTransactionSessionTimeout": 6000.0, "assumeRole": group,
	})
	s.Update(t, r, full)
	for _, part := range []string{"t t t t f t t 3 2031-02-03 04:05:06", "statement_timeout=5000", "idle_in_transaction_session_timeout=6000", `a b`, "role="} {
		if got := attributes(); !strings.Contains(got, part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
	if !s.Refresh(t, r) {
		t.Fatal("the role is gone")
	}
	if diff := s.Diff(t, r, full); diff.Changes != plugin.DiffNone {
		t.Errorf("what a refresh found differs from what was asked for: %+v", diff.DetailedDiff)
	}

	s.Update(t, r, with(full, map[string]any{"roles": []any{other}}))
	if got := attributes(); !strings.Contains(got, strings.ReplaceAll(other, `"`, `\"`)) || strings.Contains(got, strings.ReplaceAll(group, `"`, `\"`)+`\"}`) {
		t.Errorf("the memberships are %q, want %q only", got, other)
	}
	s.Update(t, r, bare)
	if got := attributes(); got != "f f f f t f f -1 infinity {}" && got != before {
		t.Errorf("back to a bare role: %q", got)
	}
}

func TestRoleRename(t *testing.T) {
	s := startAsSuperuser(t)
	before, after := unique(t, "role"), unique(t, "role")
	inputs := Props(map[string]any{"name": before, "login": true})
	inputs["password"] = Secret("pw")
	r := s.Create(t, roleToken, "r", inputs)
	inputs = with(inputs, map[string]any{"name": after})
	if diff := s.Diff(t, r, inputs); len(diff.ReplaceKeys) > 0 {
		t.Errorf("a new name gives %+v, want an update in place", diff)
	}
	s.Update(t, r, inputs)
	as(t, after, "pw", "postgres").Close(context.Background())
	if !s.Refresh(t, r) {
		t.Error("after a rename the role is not found")
	}
	s.Delete(t, r)
}

func TestRoleRefreshFindsDrift(t *testing.T) {
	s := startAsSuperuser(t)
	name := unique(t, "role")
	inputs := Props(map[string]any{"name": name, "login": true})
	inputs["password"] = Secret("pw")
	r := s.Create(t, roleToken, "r", inputs)
	conn := admin(t, "postgres")
	exec(t, conn, "ALTER ROLE %s NOLOGIN SUPERUSER CONNECTION LIMIT 5 PASSWORD 'changed'", quote(name))
	if !s.Refresh(t, r) {
		t.Fatal("the role is gone")
	}
	has(t, r.Outputs, map[string]any{"login": false, "superuser": true, "connectionLimit": 5.0, "password": "pw"})
	if diff := s.Diff(t, r, inputs); diff.Changes != plugin.DiffSome || len(diff.DetailedDiff) != 3 {
		t.Errorf("the drift gives %+v", diff.DetailedDiff)
	}
	s.Update(t, r, inputs)
	if !query[bool](t, conn, "SELECT rolcanlogin AND NOT rolsuper AND rolconnlimit = -1 FROM pg_roles WHERE rolname = $1", name) {
		t.Error("the drift was not put right")
	}
	exec(t, conn, "DROP ROLE %s", quote(name))
	if s.Refresh(t, r) {
		t.Error("a refresh does not see that the role is gone")
	}
}

func TestRoleImport(t *testing.T) {
	s := startAsSuperuser(t)
	name := newRole(t, "LOGIN CONNECTION LIMIT 4")
	r, found := s.Import(t, roleToken, "r", resource.ID(name))
	if !found {
		t.Fatal("the role is not found")
	}
	has(t, r.Inputs, map[string]any{"name": name, "login": true, "connectionLimit": 4.0})
	if _, found := s.Import(t, roleToken, "r", "no such role"); found {
		t.Error("a role was found that does not exist")
	}
}

func TestAnExistingRoleIsNotTakenOver(t *testing.T) {
	s := startAsSuperuser(t)
	name := newRole(t, "LOGIN")
	_, err := s.TryCreate(t, roleToken, "r", Props(map[string]any{"name": name}))
	if err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("the error is %v", err)
	}
}

func TestARoleThatFailsLeavesNothing(t *testing.T) {
	s := startAsSuperuser(t)
	name := unique(t, "role")
	inputs := Props(map[string]any{"name": name, "roles": []any{"no such role"}})
	inputs["password"] = Secret(trickyPassword)
	_, err := s.TryCreate(t, roleToken, "r", inputs)
	if err == nil || strings.Contains(err.Error(), trickyPassword) {
		t.Errorf("the error is %v", err)
	}
	if query[bool](t, admin(t, "postgres"), "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name) {
		t.Error("half a role is left behind")
	}
}

func TestRoleWithoutANameGetsOneAndKeepsIt(t *testing.T) {
	s := startAsSuperuser(t)
	r := s.Create(t, roleToken, "auto", Props(map[string]any{}))
	if name := r.Outputs["name"].StringValue(); !strings.HasPrefix(name, "auto-") || name != string(r.ID) {
		t.Errorf("the name is %q, the id %q", name, r.ID)
	}
	if diff := s.Diff(t, r, Props(map[string]any{})); diff.Changes != plugin.DiffNone {
		t.Errorf("the name changes: %+v", diff)
	}
	s.Delete(t, r)
}

func TestDeletedRoleLeavesItsObjectsToTheAdmin(t *testing.T) {
	s := startAsSuperuser(t)
	name := unique(t, "role")
	r := s.Create(t, roleToken, "r", Props(map[string]any{"name": name}))
	conn := admin(t, "postgres")
	table := unique(t, "table")
	exec(t, conn, "CREATE TABLE %s ()", quote(table))
	exec(t, conn, "ALTER TABLE %s OWNER TO %s", quote(table), quote(name))
	t.Cleanup(func() { exec(t, conn, "DROP TABLE %s", quote(table)) })
	s.Delete(t, r)
	if !query[bool](t, conn, "SELECT tableowner = current_user FROM pg_tables WHERE tablename = $1", table) {
		t.Error("the table has another owner")
	}

	kept := s.Create(t, roleToken, "r", Props(map[string]any{"name": name, "skipDropRole": true}))
	s.Delete(t, kept)
	exec(t, conn, "DROP ROLE %s", quote(name))
}

func TestWriteOnlyPassword(t *testing.T) {
	s := startAsSuperuser(t)
	name := unique(t, "role")
	inputs := Props(map[string]any{"name": name, "login": true, "passwordWoVersion": "1"})
	inputs["passwordWo"] = Secret("first")
	r := s.Create(t, roleToken, "r", inputs)
	as(t, name, "first", "postgres").Close(context.Background())
	inputs = with(inputs, map[string]any{"passwordWoVersion": "2"})
	inputs["passwordWo"] = Secret("second")
	s.Update(t, r, inputs)
	as(t, name, "second", "postgres").Close(context.Background())
	s.Delete(t, r)
}
