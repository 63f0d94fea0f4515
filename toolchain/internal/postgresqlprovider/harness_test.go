package postgresqlprovider_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"togather.example/toolchain/internal/postgresqlprovider"
	. "togather.example/toolchain/internal/providertest"
)

const (
	roleToken              = "postgresql:index/role:Role"
	databaseToken          = "postgresql:index/database:Database"
	schemaToken            = "postgresql:index/schema:Schema"
	extensionToken         = "postgresql:index/extension:Extension"
	grantToken             = "postgresql:index/grant:Grant"
	defaultPrivilegesToken = "postgresql:index/defaultPrivileges:DefaultPrivileges"
)

// serverURL is a superuser's URL of a scratch server. It is needed, not optional: a provider that was
// tested against nothing was not tested.
func serverURL(t *testing.T) *url.URL {
	t.Helper()
	value := os.Getenv("TEST_POSTGRES_URL")
	if value == "" {
		t.Fatal("TEST_POSTGRES_URL is not set: run toolchain/test.sh, which starts a scratch PostgreSQL, " +
			"or set it to a superuser's URL of one")
	}
	u, err := url.Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// start runs the provider as a user. Numbers and flags come JSON-encoded, as the SDK sends them.
func start(t *testing.T, user, password string) *Server {
	t.Helper()
	u := serverURL(t)
	config := Props(map[string]any{
		"host": u.Hostname(), "port": u.Port(), "username": user, "sslmode": "disable",
		"superuser": "false", "connectTimeout": "10", "database": "postgres",
	})
	config["password"] = Secret(password)
	return Start(t, postgresqlprovider.Name, postgresqlprovider.New(), config)
}

// startAsSuperuser runs the provider as the server's own superuser.
func startAsSuperuser(t *testing.T) *Server {
	t.Helper()
	u := serverURL(t)
	password, _ := u.User.Password()
	return start(t, u.User.Username(), password)
}

// connect opens a connection of a user to a database.
func connect(t *testing.T, user, password, database string) (*pgx.Conn, error) {
	t.Helper()
	u := serverURL(t)
	u.User = url.UserPassword(user, password)
	u.Path = "/" + database
	conn, err := pgx.Connect(context.Background(), u.String())
	// A scratch server that was started a moment ago may not be there yet.
	for tries := 0; tries < 100 && isStarting(err); tries++ {
		time.Sleep(100 * time.Millisecond)
		conn, err = pgx.Connect(context.Background(), u.String())
	}
	if err == nil {
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

func isStarting(err error) bool {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code == "57P03" // cannot_connect_now
	}
	return err != nil
}

// as is connect for those who must be let in.
func as(t *testing.T, user, password, database string) *pgx.Conn {
	t.Helper()
	conn, err := connect(t, user, password, database)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// admin is a superuser's connection to a database.
func admin(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	u := serverURL(t)
	password, _ := u.User.Password()
	return as(t, u.User.Username(), password, database)
}

func exec(t *testing.T, conn *pgx.Conn, format string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), statement); err == nil {
		t.Errorf("%s is allowed", statement)
	}
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var value T
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// unique makes a name that no other test and no earlier run has. It needs quoting.
func unique(t *testing.T, prefix string) string {
	t.Helper()
	return fmt.Sprintf(`%s "Ünique" %08x`, prefix, rand.Uint32())
}

func quote(names ...string) string { return pgx.Identifier(names).Sanitize() }

// newRole makes a role that the test removes.
func newRole(t *testing.T, options string) string {
	t.Helper()
	name := unique(t, "role")
	conn := admin(t, "postgres")
	exec(t, conn, "CREATE ROLE %s %s", quote(name), options)
	t.Cleanup(func() { exec(t, conn, "DROP ROLE IF EXISTS %s", quote(name)) })
	return name
}

// newDatabase makes a database that the test removes.
func newDatabase(t *testing.T, owner string) string {
	t.Helper()
	name := unique(t, "database")
	conn := admin(t, "postgres")
	exec(t, conn, "CREATE DATABASE %s OWNER %s", quote(name), quote(owner))
	t.Cleanup(func() { exec(t, conn, "DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(name)) })
	return name
}

// has checks outputs against plain values.
func has(t *testing.T, outputs resource.PropertyMap, want map[string]any) {
	t.Helper()
	for name, value := range Props(want) {
		if got := plain(outputs[name]); !got.DeepEquals(value) {
			t.Errorf("%s is %v, want %v", name, got, value)
		}
	}
}

func plain(value resource.PropertyValue) resource.PropertyValue {
	if value.IsSecret() {
		return value.SecretValue().Element
	}
	return value
}

// with returns the properties with some changed.
func with(props resource.PropertyMap, changes map[string]any) resource.PropertyMap {
	props = props.Copy()
	for name, value := range Props(changes) {
		props[name] = value
	}
	return props
}
