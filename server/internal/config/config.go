// Package config reads the server's settings from the environment and reports everything that is wrong with them at
// once. No message ever contains a value: any of them may be, or be next to, a secret.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Lowest lengths of the secrets, in characters.
const (
	minJWTSecret   = 32
	minAdminAPIKey = 16
)

// Config is what the server needs to know. See the README for the variables.
type Config struct {
	Port          int
	Slot          string
	LogLevel      slog.Level
	JWTSecret     []byte
	AdminAPIKey   string
	TestEndpoints bool
	// Between SIGTERM (not ready any more) and closing the listener.
	ShutdownDelay time.Duration
	// What requests and jobs in flight are given after that.
	ShutdownTimeout time.Duration
	// The highest version among the release's migrations: what the schema must have reached.
	ExpectedMigration int64
	// Pool for requests and jobs.
	Database *pgxpool.Config
	// Pool for health checks: a busy server must not look like a database that is down.
	HealthDatabase *pgxpool.Config
	// Values that must appear in no log.
	Secrets []string
}

// Problems are all the things that are wrong with the environment.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "; ") }

var (
	slotPattern      = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	migrationPattern = regexp.MustCompile(`^(\d+)_.+\.up\.sql$`)
)

// Load reads the configuration. The error, if any, is of type Problems.
func Load(getenv func(string) string) (*Config, error) {
	c := &Config{Slot: getenv("SLOT"), LogLevel: slog.LevelInfo}
	var problems Problems
	report := func(key, format string, args ...any) {
		problems = append(problems, key+": "+fmt.Sprintf(format, args...))
	}
	whole := func(key string, fallback, low, high int) int {
		value := getenv(key)
		if value == "" {
			return fallback
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < low || n > high {
			report(key, "must be a whole number from %d to %d", low, high)
		}
		return n
	}

	if url := getenv("DATABASE_URL"); url == "" {
		report("DATABASE_URL", "is missing; postgresql://user:password@host:5432/database")
	} else if main, err := databaseConfig(url, 20); err != nil {
		// pgx's own message quotes the URL.
		report("DATABASE_URL", "is not a PostgreSQL URL; postgresql://user:password@host:5432/database")
	} else {
		c.Database = main
		c.HealthDatabase, _ = databaseConfig(url, 0)
		c.HealthDatabase.MaxConns, c.HealthDatabase.MinConns, c.HealthDatabase.MinIdleConns = 2, 0, 0
		c.Secrets = append(c.Secrets, url, main.ConnConfig.Password)
	}

	c.JWTSecret = []byte(getenv("JWT_SECRET"))
	switch n := len(c.JWTSecret); {
	case n == 0:
		report("JWT_SECRET", "is missing; generate one with: openssl rand -base64 32")
	case n < minJWTSecret:
		report("JWT_SECRET", "has %d characters, must have at least %d; generate one with: openssl rand -base64 32", n, minJWTSecret)
	}
	c.AdminAPIKey = getenv("ADMIN_API_KEY")
	switch n := len(c.AdminAPIKey); {
	case n == 0:
		report("ADMIN_API_KEY", "is missing; generate one with: openssl rand -hex 32")
	case n < minAdminAPIKey:
		report("ADMIN_API_KEY", "has %d characters, must have at least %d; generate one with: openssl rand -hex 32", n, minAdminAPIKey)
	}
	c.Secrets = append(c.Secrets, string(c.JWTSecret), c.AdminAPIKey)

	c.Port = whole("PORT", 8080, 1, 65535)
	c.ShutdownTimeout = time.Duration(whole("SHUTDOWN_TIMEOUT", 30, 1, 3600)) * time.Second
	c.ShutdownDelay = time.Duration(whole("SHUTDOWN_DELAY", 0, 0, 300)) * time.Second
	if c.Slot != "" && !slotPattern.MatchString(c.Slot) {
		report("SLOT", "must be a slot's name, such as blue or green")
	}
	if level := getenv("LOG_LEVEL"); level != "" {
		if err := c.LogLevel.UnmarshalText([]byte(level)); err != nil {
			report("LOG_LEVEL", "must be debug, info, warn or error")
		}
	}
	switch getenv("TOGATHER_TEST_ENDPOINTS") {
	case "", "0":
	case "1":
		c.TestEndpoints = true
	default:
		report("TOGATHER_TEST_ENDPOINTS", "must be 0 or 1")
	}

	path := getenv("MIGRATIONS_PATH")
	if path == "" {
		path = "/migrations"
	}
	if version, err := highestMigration(os.DirFS(path)); err != nil {
		report("MIGRATIONS_PATH", "%v", err)
	} else {
		c.ExpectedMigration = version
	}

	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

func databaseConfig(url string, maxConnections int32) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(url, "pool_max_conns") {
		c.MaxConns = maxConnections
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = "togather-server"
	}
	return c, nil
}

// highestMigration returns the highest version of the golang-migrate files in a directory.
func highestMigration(dir fs.FS) (int64, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return 0, errors.New("the directory of the release's migrations cannot be read")
	}
	var highest int64
	for _, entry := range entries {
		if m := migrationPattern.FindStringSubmatch(entry.Name()); m != nil {
			version, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return 0, errors.New("the directory holds a migration with an impossible version")
			}
			highest = max(highest, version)
		}
	}
	if highest == 0 {
		return 0, errors.New("the directory holds no migrations")
	}
	return highest, nil
}
