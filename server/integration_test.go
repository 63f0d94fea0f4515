package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"togather.example/server/internal/health"
)

const (
	testSecret = "integration-secret-of-32-characters"
	testKey    = "integration-admin-key"
	// The test program runs as the server itself when this is set: a real process, with real signals and exit codes.
	runMain = "TOGATHER_TEST_RUN_MAIN"
)

func TestMain(m *testing.M) {
	if os.Getenv(runMain) == "1" {
		version, commit, built = "v9.9.9", "test", "now"
		main()
		return
	}
	os.Exit(m.Run())
}

// --- The database: empty, with its extensions; an owner that migrates, an app role with DML rights only. ---

type database struct {
	super, owner, app string // DSNs
	admin             *pgx.Conn
}

func testDatabase(t *testing.T) *database {
	t.Helper()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	super := os.Getenv("TEST_DATABASE_URL")
	if super == "" {
		t.Fatal("TEST_DATABASE_URL is missing: a superuser's DSN of an EMPTY scratch database, in a PostgreSQL with " +
			"postgis, vector and pg_trgm (the togather-postgres image). Without one: go test -short ./...")
	}
	ctx := t.Context()
	admin, err := pgx.Connect(ctx, super)
	if err != nil {
		t.Fatalf("TEST_DATABASE_URL: %v", err)
	}
	d := &database{super: super, admin: admin}
	var tables int
	var name string
	err = admin.QueryRow(ctx, `SELECT current_database(), (SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys')`).Scan(&name, &tables)
	if err != nil || tables > 0 {
		t.Fatalf("TEST_DATABASE_URL must be an empty database, this one has %d tables (%v)", tables, err)
	}
	suffix := strings.ReplaceAll(uuid.NewString(), "-", "")[:8]
	owner, app := "test_owner_"+suffix, "test_app_"+suffix
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		for _, sql := range []string{
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('" + owner + "', '" + app + "')",
			"DROP OWNED BY " + app + ", " + owner + " CASCADE", "DROP ROLE " + app, "DROP ROLE " + owner,
		} {
			if _, err := admin.Exec(ctx, sql); err != nil {
				t.Errorf("clean up: %s: %v", sql, err)
			}
		}
		admin.Close(ctx)
	})
	d.exec(t, fmt.Sprintf(`
		CREATE EXTENSION IF NOT EXISTS postgis; CREATE EXTENSION IF NOT EXISTS vector; CREATE EXTENSION IF NOT EXISTS pg_trgm;
		CREATE ROLE %[1]s LOGIN PASSWORD 'owner-password'; CREATE ROLE %[2]s LOGIN PASSWORD 'app-password';
		GRANT CREATE ON SCHEMA public TO %[1]s;
		ALTER DEFAULT PRIVILEGES FOR ROLE %[1]s GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %[2]s;
		ALTER DEFAULT PRIVILEGES FOR ROLE %[1]s GRANT USAGE, SELECT ON SEQUENCES TO %[2]s;`, owner, app))
	as := func(user, password string) string {
		u, err := url.Parse(super)
		if err != nil {
			t.Fatal("TEST_DATABASE_URL must be a URL")
		}
		u.User = url.UserPassword(user, password)
		return u.String()
	}
	d.owner, d.app = as(owner, "owner-password"), as(app, "app-password")
	d.asOwner(t, "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
	return d
}

func (d *database) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := d.admin.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (d *database) asOwner(t *testing.T, sql string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), d.owner)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	// As golang-migrate does it: the whole file as one simple query.
	if _, err := c.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (d *database) setVersion(t *testing.T, version int, dirty bool) {
	t.Helper()
	d.asOwner(t, fmt.Sprintf("TRUNCATE schema_migrations; INSERT INTO schema_migrations VALUES (%d, %v)", version, dirty))
}

func files(t *testing.T, direction string) []string {
	t.Helper()
	found, err := filepath.Glob("../migrations/*." + direction + ".sql")
	if err != nil || len(found) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	slices.Sort(found)
	if direction == "down" {
		slices.Reverse(found)
	}
	return found
}

// migrate applies all files of one direction.
func (d *database) migrate(t *testing.T, direction string) {
	t.Helper()
	all := files(t, direction)
	for _, file := range all {
		sql, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d.asOwner(t, string(sql))
	}
	if direction == "up" {
		d.setVersion(t, len(all), false)
	}
}

func (d *database) migrateRiver(t *testing.T) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), d.owner)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	m, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Migrate(t.Context(), rivermigrate.DirectionUp, nil); err != nil {
		t.Fatal(err)
	}
}

// --- The server: a process. ---

type process struct {
	*exec.Cmd
	base string
	logs *buffer
	done chan error
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func start(t *testing.T, dsn string, env map[string]string) *process {
	t.Helper()
	all := map[string]string{
		runMain: "1", "DATABASE_URL": dsn, "JWT_SECRET": testSecret, "ADMIN_API_KEY": testKey, "PORT": freePort(t), "SLOT": "green",
		"MIGRATIONS_PATH": "../migrations", "TOGATHER_TEST_ENDPOINTS": "1", "SHUTDOWN_TIMEOUT": "10",
	}
	maps.Copy(all, env)
	p := &process{Cmd: exec.Command(os.Args[0]), base: "http://127.0.0.1:" + all["PORT"], logs: &buffer{}, done: make(chan error, 1)}
	for k, v := range all {
		p.Env = append(p.Env, k+"="+v)
	}
	p.Stdout, p.Stderr = p.logs, p.logs
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.Cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		if t.Failed() {
			t.Logf("logs:\n%s", p.logs)
		}
	})
	return p
}

func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("still running after %v", within)
		return -1
	}
}

func (p *process) request(method, path, authorization, body string) (int, string, error) {
	r, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", authorization)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return response.StatusCode, string(b), err
}

func (p *process) expect(t *testing.T, method, path, authorization, body string, want int, into any) {
	t.Helper()
	code, answer, err := p.request(method, path, authorization, body)
	if err != nil || code != want {
		t.Fatalf("%s %s: got %d %s (%v), want %d", method, path, code, answer, err, want)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(answer), into); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
}

// await polls /health until it says what it should.
func (p *process) await(t *testing.T, code int, want health.Report) {
	t.Helper()
	var got health.Report
	var gotCode int
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		c, body, err := p.request("GET", "/health", "", "")
		if err != nil {
			continue
		}
		got = health.Report{}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("/health: %v in %s", err, body)
		}
		gotCode, got.Uptime, got.Version = c, 0, ""
		if gotCode == code && got == want {
			return
		}
	}
	t.Fatalf("/health: got %d %+v, want %d %+v", gotCode, got, code, want)
}

var (
	healthy      = health.Report{Status: "healthy", Database: "connected", Migrations: "up-to-date", Jobs: "operational"}
	withoutJobs  = health.Report{Status: "degraded", Database: "connected", Migrations: "up-to-date", Jobs: "degraded"}
	pending      = health.Report{Status: "unhealthy", Database: "connected", Migrations: "pending", Jobs: "degraded"}
	disconnected = health.Report{Status: "unhealthy", Database: "disconnected", Migrations: "unknown", Jobs: "degraded"}
)

func change(r health.Report, f func(*health.Report)) health.Report { f(&r); return r }

// --- A database that comes and goes: a TCP proxy in front of it. ---

type proxy struct {
	address, target string
	mu              sync.Mutex
	listener        net.Listener
	connections     []net.Conn
}

func newProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: "127.0.0.1:" + freePort(t), target: u.Host}
	u.Host = p.address
	t.Cleanup(p.down)
	return p, u.String()
}

func (p *proxy) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.target)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.connections = append(p.connections, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() { _, _ = io.Copy(in, out); in.Close() }()
		}
	}()
}

func (p *proxy) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
	}
	for _, c := range p.connections {
		c.Close()
	}
	p.connections = nil
}

// --- The tests. ---

func TestLifeOfADatabase(t *testing.T) {
	d := testDatabase(t)
	link, dsn := newProxy(t, d.app)

	p := start(t, dsn, nil)
	p.await(t, 503, disconnected)
	link.up(t)
	p.await(t, 503, pending)
	p.expect(t, "GET", "/readyz", "", "", 503, nil)
	p.expect(t, "GET", "/healthz", "", "", 200, nil)

	d.migrate(t, "up")
	p.await(t, 200, withoutJobs)
	d.migrateRiver(t)
	p.await(t, 200, healthy)
	p.expect(t, "GET", "/readyz", "", "", 200, nil)

	// The leader of the job queue has resigned; a restored database says who led it long ago.
	for _, left := range []string{"DELETE FROM river_leader", "UPDATE river_leader SET expires_at = now() - interval '1 hour'"} {
		d.exec(t, left)
		var got health.Report
		p.expect(t, "GET", "/health", "", "", 200, &got)
		if got.Status != "healthy" {
			t.Errorf("%s: /health says %+v", left, got)
		}
		awaitQuery(t, d, "SELECT count(*) FROM river_leader WHERE expires_at > now()", 1)
	}

	expected := len(files(t, "up"))
	d.setVersion(t, expected, true)
	p.await(t, 503, change(healthy, func(r *health.Report) { r.Status, r.Migrations = "unhealthy", "unknown" }))
	d.setVersion(t, expected+1, true) // a newer release migrates
	p.await(t, 200, healthy)
	d.setVersion(t, expected-1, false)
	p.await(t, 503, change(healthy, func(r *health.Report) { r.Status, r.Migrations = "unhealthy", "pending" }))
	d.setVersion(t, expected+1, false) // this release is rolled back to
	p.await(t, 200, healthy)

	link.down()
	p.await(t, 503, disconnected)
	code, body, err := p.request("POST", "/api/v1/events", "", `{"name":"x","starts_at":"2030-01-01T00:00:00Z"}`)
	if err != nil || code != 503 {
		t.Errorf("write without a database: got %d %s (%v), want 503", code, body, err)
	}
	link.up(t)
	p.await(t, 200, healthy)
	p.expect(t, "POST", "/api/v1/events", "", `{"name":"x","starts_at":"2030-01-01T00:00:00Z"}`, 201, nil)

	// The jobs have survived it too: the next one is worked.
	d.exec(t, `INSERT INTO river_job (kind, args, max_attempts, state, queue) VALUES ('expire_events', '{}', 1, 'available', 'default')`)
	awaitQuery(t, d, "SELECT count(*) FROM river_job WHERE max_attempts = 1 AND state = 'completed'", 1)

	_ = p.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t, 10*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if logs := p.logs.String(); strings.Contains(logs, "app-password") || strings.Contains(logs, testSecret) || strings.Contains(logs, testKey) {
		t.Errorf("a secret is in the logs")
	}

	// A second server finds a database without any table, and every down file undoes its up file.
	d.migrate(t, "down")
	var left int
	err = d.admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'
		AND tablename NOT LIKE 'river%' AND tablename NOT IN ('spatial_ref_sys', 'schema_migrations')`).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("the down files leave %d tables (%v)", left, err)
	}
	d.migrate(t, "up")
}

func awaitQuery(t *testing.T, d *database, sql string, want int64) {
	t.Helper()
	var got int64
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := d.admin.QueryRow(t.Context(), sql).Scan(&got); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if got == want {
			return
		}
	}
	t.Fatalf("%s: got %d, want %d", sql, got, want)
}

func TestAPI(t *testing.T) {
	d := testDatabase(t)
	d.migrate(t, "up")
	d.migrateRiver(t)
	d.exec(t, `INSERT INTO events (name, starts_at, ends_at) SELECT 'past ' || n, now() - interval '2 h', now() - interval '1 h' FROM generate_series(1, 2500) n`)
	p := start(t, d.app, nil)
	p.await(t, 200, healthy)

	t.Run("places", func(t *testing.T) {
		var near, far struct{ ID string }
		p.expect(t, "POST", "/api/v1/places", "", `{"name":"Town Hall 100%","address":"1 Main St","latitude":43.6532,"longitude":-79.3832}`, 201, &near)
		p.expect(t, "POST", "/api/v1/places", "", `{"name":"Library","latitude":43.6600,"longitude":-79.3832}`, 201, &far)
		var list struct {
			Places []struct {
				ID, Name            string
				Latitude, Longitude float64
				Distance            float64 `json:"distance_m"`
			}
		}
		p.expect(t, "GET", "/api/v1/places?latitude=43.6533&longitude=-79.3832&radius=100", "", "", 200, &list)
		if len(list.Places) != 1 || list.Places[0].ID != near.ID || list.Places[0].Distance < 10 || list.Places[0].Distance > 12 ||
			list.Places[0].Latitude != 43.6532 || list.Places[0].Longitude != -79.3832 {
			t.Errorf("within 100 m: %+v", list)
		}
		p.expect(t, "GET", "/api/v1/places?latitude=43.6601&longitude=-79.3832&radius=5000", "", "", 200, &list)
		if len(list.Places) != 2 || list.Places[0].ID != far.ID {
			t.Errorf("nearest first: %+v", list)
		}
		for q, want := range map[string]int{"hall": 1, "%25": 1, "_": 0, "": 2} {
			p.expect(t, "GET", "/api/v1/places?q="+q, "", "", 200, &list)
			if len(list.Places) != want {
				t.Errorf("q=%s: %+v, want %d", q, list, want)
			}
		}
	})

	t.Run("events", func(t *testing.T) {
		id := uuid.NewString()
		body := func(name string) string {
			return `{"id":"` + id + `","name":"` + name + `","starts_at":"2030-01-01T10:00:00.123456789+01:00"}`
		}
		var first, again map[string]any
		p.expect(t, "POST", "/api/v1/events", "", body("Market"), 201, &first)
		p.expect(t, "POST", "/api/v1/events", "", body("Market"), 200, &again)
		if !maps.Equal(first, again) || first["id"] != id {
			t.Errorf("repeated: %v, then %v", first, again)
		}
		p.expect(t, "POST", "/api/v1/events", "", body("Fair"), 409, nil)
		p.expect(t, "GET", "/api/v1/events/"+id, "", "", 200, &again)
		if !maps.Equal(first, again) {
			t.Errorf("wrote %v, read %v", first, again)
		}
		p.expect(t, "POST", "/api/v1/events", "", `{"name":"x","starts_at":"2030-01-01T00:00:00Z","place_id":"`+uuid.NewString()+`"}`, 422, nil)
		p.expect(t, "POST", "/api/v1/events", "", `{"name":"a\u0000b","starts_at":"2030-01-01T00:00:00Z"}`, 400, nil)
		p.expect(t, "GET", "/api/v1/events/"+uuid.NewString(), "", "", 404, nil)

		// Pages: every event exactly once.
		seen, after := map[string]bool{}, ""
		for {
			var page struct{ Events []struct{ ID string } }
			p.expect(t, "GET", "/api/v1/events?limit=500"+after, "", "", 200, &page)
			if len(page.Events) == 0 {
				break
			}
			for _, e := range page.Events {
				if seen[e.ID] {
					t.Fatalf("%s twice", e.ID)
				}
				seen[e.ID] = true
			}
			after = "&after=" + page.Events[len(page.Events)-1].ID
		}
		if len(seen) != 2501 {
			t.Errorf("%d events on all pages, want 2501", len(seen))
		}

		signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix()}).SignedString([]byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		p.expect(t, "DELETE", "/api/v1/events/"+id, "", "", 401, nil)
		p.expect(t, "DELETE", "/api/v1/events/"+id, "Bearer "+signed, "", 204, nil)
		p.expect(t, "DELETE", "/api/v1/events/"+id, "Bearer "+signed, "", 404, nil)
	})

	t.Run("similar events", func(t *testing.T) {
		post := func(axis int) (id string) {
			v := make([]float32, 384)
			v[axis], v[383] = 1, 0.5
			embedding, _ := json.Marshal(v)
			var e struct{ ID string }
			event := fmt.Sprintf(`{"id":"%s","name":"e","starts_at":"2030-01-01T00:00:00Z","embedding":%s}`, uuid.NewString(), embedding)
			p.expect(t, "POST", "/api/v1/events", "", event, 201, &e)
			p.expect(t, "POST", "/api/v1/events", "", event, 200, nil)
			return e.ID
		}
		a, _, b := post(0), post(1), post(0)
		var list struct{ Events []struct{ ID string } }
		p.expect(t, "GET", "/api/v1/events/"+a+"/similar", "", "", 200, &list)
		if len(list.Events) != 2 || list.Events[0].ID != b {
			t.Errorf("%+v, want %s first of 2", list, b)
		}
	})

	t.Run("concurrent writes with one id are one row", func(t *testing.T) {
		id := uuid.NewString()
		codes := make(chan int, 20)
		for range cap(codes) {
			go func() {
				code, _, _ := p.request("POST", "/api/v1/events", "", `{"id":"`+id+`","name":"x","starts_at":"2030-01-01T00:00:00Z"}`)
				codes <- code
			}()
		}
		count := map[int]int{}
		for range cap(codes) {
			count[<-codes]++
		}
		if count[201] != 1 || count[200] != cap(codes)-1 {
			t.Errorf("codes: %v", count)
		}
	})

	t.Run("the job counts past events once", func(t *testing.T) {
		awaitQuery(t, d, "SELECT coalesce(sum(expired), 0)::bigint FROM event_statistics", 2500)
		awaitQuery(t, d, "SELECT count(*) FROM events WHERE expired_at IS NOT NULL", 2500)
		var stats struct {
			Expired int64            `json:"events_expired"`
			Jobs    map[string]int64 `json:"jobs"`
		}
		awaitQuery(t, d, "SELECT count(*) FROM river_job WHERE state = 'completed'", 1)
		p.expect(t, "GET", "/api/v1/admin/stats", "Bearer "+testKey, "", 200, &stats)
		if stats.Expired != 2500 || stats.Jobs["completed"] != 1 {
			t.Errorf("%+v", stats)
		}
	})

	t.Run("metrics", func(t *testing.T) {
		_, body, _ := p.request("GET", "/metrics", "", "")
		for _, want := range []string{
			`togather_build_info{commit="test",slot="green",version="v9.9.9"} 1`, `togather_database_connections_max 20`,
			`togather_http_request_duration_seconds_count{route="POST /api/v1/events",status="409"} 1`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("lacks %s", want)
			}
		}
	})

	t.Run("a busy pool is no lost database", func(t *testing.T) {
		d.exec(t, "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
		defer d.exec(t, "ROLLBACK")
		for range 25 {
			go func() { _, _, _ = p.request("GET", "/api/v1/events/"+uuid.NewString(), "", "") }()
		}
		time.Sleep(300 * time.Millisecond)
		p.await(t, 200, healthy)
	})
}

func TestShutdown(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	// Nothing here needs a database.
	const nowhere = "postgresql://app:app-password@127.0.0.1:1/togather"
	begin := func(t *testing.T, seconds string, env map[string]string) (*process, chan error) {
		t.Helper()
		p := start(t, nowhere, env)
		p.await(t, 503, disconnected)
		slow := make(chan error, 1)
		go func() {
			code, body, err := p.request("GET", "/api/v1/slow?seconds="+seconds, "", "")
			if err == nil && code != 200 {
				err = fmt.Errorf("%d %s", code, body)
			}
			slow <- err
		}()
		for range 100 {
			if _, body, _ := p.request("GET", "/metrics", "", ""); strings.Contains(body, "togather_http_requests_in_flight 2") {
				return p, slow
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatal("the slow request did not get there")
		return nil, nil
	}

	t.Run("requests in flight are answered", func(t *testing.T) {
		p, slow := begin(t, "1.5", nil)
		_ = p.Process.Signal(syscall.SIGTERM)
		time.Sleep(300 * time.Millisecond)
		if c, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://")); err == nil {
			c.Close()
			t.Error("still accepts connections")
		}
		if err := <-slow; err != nil {
			t.Errorf("the request in flight: %v", err)
		}
		if code := p.exit(t, 3*time.Second); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})

	t.Run("during the delay it answers, and is not ready", func(t *testing.T) {
		p, slow := begin(t, "0.1", map[string]string{"SHUTDOWN_DELAY": "1"})
		_ = p.Process.Signal(syscall.SIGTERM)
		time.Sleep(300 * time.Millisecond)
		code, body, err := p.request("GET", "/readyz", "", "")
		if err != nil || code != 503 || !strings.Contains(body, "draining") {
			t.Errorf("/readyz: %d %s (%v)", code, body, err)
		}
		p.expect(t, "GET", "/healthz", "", "", 200, nil)
		if err := <-slow; err != nil {
			t.Error(err)
		}
		if code := p.exit(t, 5*time.Second); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})

	t.Run("not longer than the timeout", func(t *testing.T) {
		p, slow := begin(t, "30", map[string]string{"SHUTDOWN_TIMEOUT": "1"})
		_ = p.Process.Signal(syscall.SIGTERM)
		if code := p.exit(t, 5*time.Second); code != 1 {
			t.Errorf("exit code %d, want 1: a request was cut off", code)
		}
		if err := <-slow; err == nil {
			t.Error("the request was answered")
		}
	})

	t.Run("a second signal ends it", func(t *testing.T) {
		p, _ := begin(t, "30", nil)
		_ = p.Process.Signal(syscall.SIGTERM)
		time.Sleep(200 * time.Millisecond)
		_ = p.Process.Signal(syscall.SIGTERM)
		if code := p.exit(t, time.Second); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
}

func TestInvalidConfigurationIsOneLine(t *testing.T) {
	p := start(t, "nonsense://user:app-password@host", map[string]string{"JWT_SECRET": "too short", "PORT": "http"})
	if code := p.exit(t, 5*time.Second); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	lines := bufio.NewScanner(strings.NewReader(p.logs.String()))
	var n int
	for ; lines.Scan(); n++ {
		var record struct {
			Level    string
			Problems []string
		}
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil || record.Level != "ERROR" || len(record.Problems) != 3 {
			t.Errorf("%s (%v)", lines.Text(), err)
		}
	}
	if n != 1 || strings.Contains(p.logs.String(), "app-password") {
		t.Errorf("%d lines:\n%s", n, p.logs)
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	var out bytes.Buffer
	r := newRedactor(&out, []string{`pass"<&word`, "", "tiny"})
	line := `{"error":"cannot log in with pass\"<&word","x":"tiny"}`
	if n, err := r.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatal(n, err)
	}
	if got := out.String(); got != `{"error":"cannot log in with ***REDACTED***","x":"tiny"}` {
		t.Error(got)
	}
}
