// Package store reads and writes events and places.
package store

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrNotFound means that there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the id is taken by something different.
	ErrConflict = errors.New("the id is taken by an event with different content")
)

// Event is a row of events.
type Event struct {
	ID          uuid.UUID  `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	StartsAt    time.Time  `json:"starts_at"`
	EndsAt      time.Time  `json:"ends_at"`
	PlaceID     *uuid.UUID `json:"place_id"`
	ExpiredAt   *time.Time `json:"expired_at"`
	CreatedAt   time.Time  `json:"created_at"`
}

// NewEvent is what a client sends.
type NewEvent struct {
	ID          uuid.UUID  `json:"id"` // chosen by the server when zero
	Name        string     `json:"name"`
	Description string     `json:"description"`
	StartsAt    time.Time  `json:"starts_at"`
	EndsAt      *time.Time `json:"ends_at"` // the start when absent
	PlaceID     *uuid.UUID `json:"place_id"`
	Embedding   []float32  `json:"embedding"`
}

// EventFilter selects events in the order of their start.
type EventFilter struct {
	From, To *time.Time
	PlaceID  *uuid.UUID
	After    *uuid.UUID // the last event of the page before
	Limit    int
}

// Place is a row of places.
type Place struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Latitude  float64   `json:"latitude"`
	Longitude float64   `json:"longitude"`
	CreatedAt time.Time `json:"created_at"`
	Distance  *float64  `json:"distance_m,omitempty"` // metres from where one asked
}

// NewPlace is what a client sends.
type NewPlace struct {
	Name      string   `json:"name"`
	Address   string   `json:"address"`
	Latitude  *float64 `json:"latitude"`
	Longitude *float64 `json:"longitude"`
}

// PlaceFilter selects places whose name contains Name, and within Radius metres of a point if there is one.
type PlaceFilter struct {
	Name                string
	Latitude, Longitude *float64
	Radius              float64
	Limit               int
}

// Stats are the figures of the admin endpoint.
type Stats struct {
	Events  int64            `json:"events"`
	Places  int64            `json:"places"`
	Expired int64            `json:"events_expired"` // counted by the periodic job
	JobRuns int64            `json:"job_runs"`
	Jobs    map[string]int64 `json:"jobs"` // by state
}

// Store is the database of the requests.
type Store struct{ Pool *pgxpool.Pool }

const eventColumns = "id, name, description, starts_at, ends_at, place_id, expired_at, created_at"

func scanEvent(row pgx.CollectableRow) (Event, error) {
	var e Event
	err := row.Scan(&e.ID, &e.Name, &e.Description, &e.StartsAt, &e.EndsAt, &e.PlaceID, &e.ExpiredAt, &e.CreatedAt)
	return e, err
}

// CreateEvent writes one row, however often it is called with one id: created is false when the same event was there.
func (s *Store) CreateEvent(ctx context.Context, n NewEvent) (e Event, created bool, err error) {
	if n.ID == uuid.Nil {
		if n.ID, err = uuid.NewV7(); err != nil {
			return e, false, err
		}
	}
	if n.EndsAt == nil {
		n.EndsAt = &n.StartsAt
	}
	arguments := []any{n.ID, n.Name, n.Description, n.StartsAt, *n.EndsAt, n.PlaceID, n.Embedding}
	e, err = one(ctx, s.Pool, `
		INSERT INTO events (id, name, description, starts_at, ends_at, place_id, embedding)
		VALUES ($1, $2, $3, $4, $5, $6, $7::real[]::vector)
		ON CONFLICT (id) DO NOTHING RETURNING `+eventColumns, scanEvent, arguments...)
	if !errors.Is(err, ErrNotFound) {
		return e, err == nil, err
	}
	e, err = one(ctx, s.Pool, `
		SELECT `+eventColumns+` FROM events WHERE id = $1
		AND (name, description, starts_at, ends_at, place_id, embedding::real[])
			IS NOT DISTINCT FROM ($2::text, $3::text, $4::timestamptz, $5::timestamptz, $6::uuid, $7::real[])`,
		scanEvent, arguments...)
	if errors.Is(err, ErrNotFound) {
		err = ErrConflict
	}
	return e, false, err
}

// Event returns one event.
func (s *Store) Event(ctx context.Context, id uuid.UUID) (Event, error) {
	return one(ctx, s.Pool, "SELECT "+eventColumns+" FROM events WHERE id = $1", scanEvent, id)
}

// Events returns a page of events.
func (s *Store) Events(ctx context.Context, f EventFilter) ([]Event, error) {
	return all(ctx, s.Pool, `
		SELECT `+eventColumns+` FROM events
		WHERE ($1::timestamptz IS NULL OR starts_at >= $1)
		AND ($2::timestamptz IS NULL OR starts_at < $2)
		AND ($3::uuid IS NULL OR place_id = $3)
		AND ($4::uuid IS NULL OR (starts_at, id) > (SELECT starts_at, id FROM events WHERE id = $4))
		ORDER BY starts_at, id LIMIT $5`, scanEvent, f.From, f.To, f.PlaceID, f.After, f.Limit)
}

// SimilarEvents returns the events whose embeddings are nearest to one event's.
func (s *Store) SimilarEvents(ctx context.Context, id uuid.UUID, limit int) ([]Event, error) {
	return all(ctx, s.Pool, `
		SELECT `+eventColumns+` FROM events
		WHERE embedding IS NOT NULL AND id <> $1
		ORDER BY embedding <=> (SELECT embedding FROM events WHERE id = $1) LIMIT $2`, scanEvent, id, limit)
}

// DeleteEvent deletes one event.
func (s *Store) DeleteEvent(ctx context.Context, id uuid.UUID) error {
	tag, err := s.Pool.Exec(ctx, "DELETE FROM events WHERE id = $1", id)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

// In a LIKE pattern these stand for themselves only when escaped.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

const placeColumns = "id, name, address, ST_Y(location::geometry), ST_X(location::geometry), created_at"

func scanPlace(row pgx.CollectableRow) (Place, error) {
	var p Place
	err := row.Scan(&p.ID, &p.Name, &p.Address, &p.Latitude, &p.Longitude, &p.CreatedAt, &p.Distance)
	return p, err
}

// CreatePlace writes one place.
func (s *Store) CreatePlace(ctx context.Context, n NewPlace) (Place, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Place{}, err
	}
	// The conflict is with itself, see one.
	return one(ctx, s.Pool, `
		INSERT INTO places (id, name, address, location)
		VALUES ($5, $1, $2, ST_SetSRID(ST_MakePoint($4, $3), 4326)::geography)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name
		RETURNING `+placeColumns+`, NULL::float8`, scanPlace, n.Name, n.Address, n.Latitude, n.Longitude, id)
}

// Places returns places, the nearest first if there is a point, else by name.
func (s *Store) Places(ctx context.Context, f PlaceFilter) ([]Place, error) {
	name := "%" + likeEscaper.Replace(f.Name) + "%"
	if f.Latitude == nil {
		return all(ctx, s.Pool, `SELECT `+placeColumns+`, NULL::float8 FROM places
			WHERE name ILIKE $1 ORDER BY name, id LIMIT $2`, scanPlace, name, f.Limit)
	}
	return all(ctx, s.Pool, `
		SELECT `+placeColumns+`, ST_Distance(location, here)
		FROM places, CAST(ST_SetSRID(ST_MakePoint($4, $3), 4326) AS geography) AS here
		WHERE name ILIKE $1 AND ST_DWithin(location, here, $5)
		ORDER BY location <-> here, id LIMIT $2`, scanPlace, name, f.Limit, f.Latitude, f.Longitude, f.Radius)
}

// Stats counts.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	st := Stats{Jobs: map[string]int64{}}
	err := s.Pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM places),
			coalesce(sum(expired), 0)::bigint, coalesce(sum(runs), 0)::bigint FROM event_statistics`).
		Scan(&st.Events, &st.Places, &st.Expired, &st.JobRuns)
	if err != nil {
		return st, err
	}
	rows, err := s.Pool.Query(ctx, "SELECT state::text, count(*) FROM river_job GROUP BY state")
	if err != nil {
		return st, err
	}
	var state string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { st.Jobs[state] = n; return nil })
	return st, err
}

// Broken tells whether an error means that the connection was lost, so that nobody knows whether the statement ran.
func Broken(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return strings.HasPrefix(pgErr.Code, "57P") // the server is shutting down or starting
	}
	var netErr *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr) || pgconn.SafeToRetry(err)
}

// one and all run a statement that may run twice: after a restart of the database the pool is full of dead connections,
// and no request should have to find that out for its client.
func one[T any](ctx context.Context, pool *pgxpool.Pool, sql string, scan pgx.RowToFunc[T], arguments ...any) (T, error) {
	row, err := twice(pool, func() (row T, err error) {
		rows, err := pool.Query(ctx, sql, arguments...)
		if err != nil {
			return row, err
		}
		return pgx.CollectExactlyOneRow(rows, scan)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return row, err
}

func all[T any](ctx context.Context, pool *pgxpool.Pool, sql string, scan pgx.RowToFunc[T], arguments ...any) ([]T, error) {
	return twice(pool, func() ([]T, error) {
		rows, err := pool.Query(ctx, sql, arguments...)
		if err != nil {
			return nil, err
		}
		// Never null in JSON.
		return pgx.AppendRows([]T{}, rows, scan)
	})
}

func twice[T any](pool *pgxpool.Pool, run func() (T, error)) (T, error) {
	result, err := run()
	if err != nil && Broken(err) {
		pool.Reset()
		return run()
	}
	return result, err
}
