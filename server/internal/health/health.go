// Package health decides what /health answers.
package health

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// checkTimeout bounds all database work of one check. Whoever asks should wait longer than this.
const checkTimeout = 2 * time.Second

// Report is the body of /health: the contract with the deployment's gate.
type Report struct {
	Status     string `json:"status"`     // healthy | degraded | unhealthy
	Version    string `json:"version"`    // of the release
	Database   string `json:"database"`   // connected | disconnected
	Migrations string `json:"migrations"` // up-to-date | pending | unknown
	Jobs       string `json:"jobs"`       // operational | degraded
	Uptime     int64  `json:"uptime"`     // seconds since the start
}

// HTTPStatus is 503 for a server that must not get traffic, and 200 for one that may, if degraded.
func (r Report) HTTPStatus() int {
	if r.Status == "unhealthy" {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// Observation is what was found out.
type Observation struct {
	Database error // nil: connected
	Schema   Schema
	Jobs     error // nil: operational
}

// Schema is the state of golang-migrate's table.
type Schema struct {
	Version int64 // 0: nothing has been applied
	Dirty   bool  // the migration to Version is running, or has failed
	Err     error // the table could not be read
}

// Migrations compares the schema with what this release needs.
//
// A schema that is ahead is up to date: after a rollback the older release runs on the newer schema, which is why
// migrations have to be backward compatible. The same holds while a newer release's migration runs, or when it has
// failed half-way (dirty): all that this release needs was applied before it, and the slot that serves must not turn
// unhealthy because of a release that is not there yet. Dirty at or below the expected version means that nobody
// knows what this release would find.
func Migrations(s Schema, expected int64) string {
	switch {
	case s.Err != nil:
		return "unknown"
	case s.Version > expected:
		return "up-to-date"
	case s.Dirty:
		return "unknown"
	case s.Version < expected:
		return "pending"
	default:
		return "up-to-date"
	}
}

// Decide turns observations into a report. Without database or schema nothing works: unhealthy. Without jobs requests
// still do: degraded.
func Decide(o Observation, expected int64, version string, uptime time.Duration) Report {
	r := Report{Status: "healthy", Version: version, Database: "connected", Jobs: "operational", Uptime: int64(uptime.Seconds())}
	if o.Jobs != nil {
		r.Jobs = "degraded"
		r.Status = "degraded"
	}
	if o.Database != nil {
		r.Database = "disconnected"
		r.Migrations = "unknown"
	} else {
		r.Migrations = Migrations(o.Schema, expected)
	}
	if r.Migrations != "up-to-date" {
		r.Status = "unhealthy"
	}
	return r
}

// Checker makes the observations.
type Checker struct {
	Pool     *pgxpool.Pool
	Jobs     func(context.Context) error
	Expected int64
	Version  string
	Started  time.Time
}

// Check observes and decides; the observation tells why.
func (c *Checker) Check(ctx context.Context) (Report, Observation) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	o := c.observe(ctx)
	return Decide(o, c.Expected, c.Version, time.Since(c.Started)), o
}

func (c *Checker) observe(ctx context.Context) Observation {
	if err := c.Pool.Ping(ctx); err != nil {
		return Observation{Database: err, Jobs: err}
	}
	return Observation{Schema: readSchema(ctx, c.Pool), Jobs: c.Jobs(ctx)}
}

func readSchema(ctx context.Context, pool *pgxpool.Pool) Schema {
	var s Schema
	err := pool.QueryRow(ctx, "SELECT version, dirty FROM schema_migrations LIMIT 1").Scan(&s.Version, &s.Dirty)
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &pgErr) && pgErr.Code == "42P01": // undefined_table
		return Schema{}
	case err != nil:
		return Schema{Err: err}
	}
	return s
}
