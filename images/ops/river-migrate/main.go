// River-migrate brings River's tables in the database of DATABASE_URL up to this River version, or to the one that is
// asked for. It never goes back.
//
// It prints {"from":VERSION,"to":VERSION} on stdout, 0 for a database without River's tables, and is safe to run again
// or twice at the same time: River's own migrator takes no lock, so this does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// advisoryLock is this program's key among the database's advisory locks ("togather", "rvrm"), apart from
// golang-migrate's, which is a hash of the database's name.
const advisoryLock int64 = 0x74677468_7276726d

type result struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// statementLimits keep a migration from stopping what serves: everything that comes behind a waiting statement waits too.
type statementLimits struct {
	lock, statement time.Duration
}

func main() {
	lockTimeout := flag.Duration("lock-timeout", 60*time.Second, "longest wait for another river-migrate on this database")
	limits := statementLimits{}
	flag.DurationVar(&limits.lock, "wait", 0, "longest wait of a statement for a lock that somebody else holds, 0 for no limit")
	flag.DurationVar(&limits.statement, "statement", 0, "longest time that a statement may run, 0 for no limit")
	target := flag.Int("to", 0, "version of River's schema to stop at, 0 for the newest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	done, err := migrate(ctx, os.Getenv("DATABASE_URL"), *target, *lockTimeout, limits)
	if err != nil {
		fmt.Fprintln(os.Stderr, "river-migrate:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(done); err != nil {
		os.Exit(1)
	}
}

func migrate(ctx context.Context, databaseURL string, target int, lockTimeout time.Duration, limits statementLimits) (result, error) {
	if databaseURL == "" {
		return result{}, errors.New("DATABASE_URL is not set")
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		// The parser's message quotes the URL, and its password with it.
		return result{}, errors.New("DATABASE_URL is not a PostgreSQL connection string")
	}
	// One holds the lock, the other migrates.
	config.MaxConns = 2
	config.ConnConfig.RuntimeParams["application_name"] = "togather-river-migrate"
	// Of this session alone, and stronger than what the URL's options say.
	for name, limit := range map[string]time.Duration{"lock_timeout": limits.lock, "statement_timeout": limits.statement} {
		if limit > 0 {
			config.ConnConfig.RuntimeParams[name] = strconv.FormatInt(limit.Milliseconds(), 10)
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return result{}, err
	}
	defer pool.Close()

	release, err := lock(ctx, pool, lockTimeout)
	if err != nil {
		return result{}, err
	}
	defer release()

	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{
		Logger: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		return result{}, err
	}
	from, err := currentVersion(ctx, migrator)
	if err != nil {
		return result{}, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: target}); err != nil {
		return result{}, fmt.Errorf("River's migrations stopped after version %d or later: %w", from, err)
	}
	to, err := currentVersion(ctx, migrator)
	return result{From: from, To: to}, err
}

func currentVersion(ctx context.Context, migrator *rivermigrate.Migrator[pgx.Tx]) (int, error) {
	versions, err := migrator.ExistingVersions(ctx)
	if err != nil {
		return 0, err
	}
	highest := 0
	for _, migration := range versions {
		highest = max(highest, migration.Version)
	}
	return highest, nil
}

// lock waits for the advisory lock and returns its release. The lock ends with its connection, so a killed run leaves
// none behind.
func lock(ctx context.Context, pool *pgxpool.Pool, timeout time.Duration) (func(), error) {
	connection, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("no connection to the database: %w", err)
	}
	if _, err := connection.Exec(ctx, "SELECT set_config('lock_timeout', $1, false)", fmt.Sprintf("%dms", timeout.Milliseconds())); err != nil {
		connection.Release()
		return nil, err
	}
	if _, err := connection.Exec(ctx, "SELECT pg_advisory_lock($1)", advisoryLock); err != nil {
		connection.Release()
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "55P03" {
			return nil, fmt.Errorf("another river-migrate has held its lock on this database for %s", timeout)
		}
		return nil, err
	}
	return func() {
		// Closing the session ends the lock, also when the context was cancelled.
		_ = connection.Hijack().Close(context.Background())
	}, nil
}
