package config

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func valid() map[string]string {
	return map[string]string{
		"DATABASE_URL":    "postgresql://app:s3cretpassword@db:5432/togather",
		"JWT_SECRET":      strings.Repeat("j", 32),
		"ADMIN_API_KEY":   strings.Repeat("a", 16),
		"MIGRATIONS_PATH": "../../../migrations",
	}
}

func load(env map[string]string) (*Config, error) {
	return Load(func(key string) string { return env[key] })
}

func TestDefaults(t *testing.T) {
	c, err := load(valid())
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 8080 || c.ShutdownTimeout != 30*time.Second || c.ShutdownDelay != 0 || c.LogLevel != slog.LevelInfo || c.TestEndpoints {
		t.Errorf("defaults: %+v", c)
	}
	if c.Database.MaxConns != 20 || c.HealthDatabase.MaxConns != 2 {
		t.Errorf("pools of %d and %d connections, want 20 and 2", c.Database.MaxConns, c.HealthDatabase.MaxConns)
	}
	if c.ExpectedMigration < 4 {
		t.Errorf("expected migration %d, want that of the bundled files", c.ExpectedMigration)
	}
}

func TestPoolSizeFromURL(t *testing.T) {
	env := valid()
	env["DATABASE_URL"] += "?pool_max_conns=7&pool_min_conns=3"
	c, err := load(env)
	if err != nil {
		t.Fatal(err)
	}
	if c.Database.MaxConns != 7 || c.HealthDatabase.MaxConns != 2 || c.HealthDatabase.MinConns != 0 {
		t.Errorf("pools of %d and %d connections (at least %d), want 7 and 2 (0)",
			c.Database.MaxConns, c.HealthDatabase.MaxConns, c.HealthDatabase.MinConns)
	}
}

func TestAllProblemsAtOnceAndNoValue(t *testing.T) {
	env := map[string]string{
		"DATABASE_URL":            "postgresql://app:s3cretpassword@db:notaport/togather",
		"JWT_SECRET":              "s3cretjwt",
		"ADMIN_API_KEY":           "s3cretkey",
		"PORT":                    "s3cret1",
		"SLOT":                    "s3cret slot",
		"LOG_LEVEL":               "s3cret2",
		"SHUTDOWN_TIMEOUT":        "0",
		"SHUTDOWN_DELAY":          "-1",
		"TOGATHER_TEST_ENDPOINTS": "s3cret3",
		"MIGRATIONS_PATH":         "/s3cret/nowhere",
	}
	_, err := load(env)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want Problems", err)
	}
	for key := range env {
		if n := strings.Count(err.Error(), key+": "); n != 1 {
			t.Errorf("%s is reported %d times: %v", key, n, problems)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a value is in the message: %v", err)
	}
}

func TestMissing(t *testing.T) {
	_, err := load(map[string]string{"MIGRATIONS_PATH": "../../../migrations"})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Errorf("got %v, want problems with exactly DATABASE_URL, JWT_SECRET and ADMIN_API_KEY", err)
	}
}

func TestHighestMigration(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		want  int64
		fails bool
	}{
		"by number, not by name": {files: []string{"9_a.up.sql", "10_b.up.sql", "10_b.down.sql"}, want: 10},
		"timestamps":             {files: []string{"20260128143022_a.up.sql"}, want: 20260128143022},
		"down files don't count": {files: []string{"1_a.up.sql", "2_b.down.sql", "README.md"}, want: 1},
		"empty":                  {fails: true},
		"too large":              {files: []string{"99999999999999999999_a.up.sql"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fstest.MapFS{}
			for _, file := range test.files {
				dir[file] = &fstest.MapFile{}
			}
			got, err := highestMigration(dir)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}
