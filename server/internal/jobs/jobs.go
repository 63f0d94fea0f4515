// Package jobs runs the job queue (River) and the one periodic job of this server.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	expireInterval = time.Minute
	expireBatch    = 1000
	// Between attempts to start River while the database or River's tables are not there yet.
	startInterval = time.Second
	// A leader that was killed is missed by its successor for up to 15 s, one that resigned for up to 6 s where the
	// successor does not hear of it: no reason for an alarm yet.
	leaderGrace = 30 * time.Second
	// What cancelled jobs are given to return.
	hardStopTimeout = 5 * time.Second
)

// ExpireEvents marks the events that are over and counts them by day.
type ExpireEvents struct{}

// Kind names the job in the queue. Never change it: jobs of the release before are in the table.
func (ExpireEvents) Kind() string { return "expire_events" }

type expireWorker struct {
	river.WorkerDefaults[ExpireEvents]
	pool *pgxpool.Pool
	log  *slog.Logger
}

func (w *expireWorker) Work(ctx context.Context, _ *river.Job[ExpireEvents]) error {
	total, err := expire(ctx, w.pool)
	if total > 0 {
		w.log.InfoContext(ctx, "events expired", "count", total)
	}
	return err
}

// expire counts each past event exactly once, however often it is repeated or interrupted: a batch is marked and
// counted by one statement.
func expire(ctx context.Context, pool *pgxpool.Pool) (total int64, err error) {
	for {
		var n int64
		err := pool.QueryRow(ctx, `
			WITH due AS (
				SELECT id FROM events WHERE expired_at IS NULL AND ends_at < now()
				ORDER BY ends_at LIMIT $1 FOR UPDATE SKIP LOCKED
			), expired AS (
				UPDATE events SET expired_at = now() FROM due WHERE events.id = due.id RETURNING 1
			), counted AS (
				INSERT INTO event_statistics AS s (day, expired, runs)
				SELECT (now() AT TIME ZONE 'UTC')::date, count(*), 1 FROM expired
				ON CONFLICT (day) DO UPDATE
				SET expired = s.expired + excluded.expired, runs = s.runs + 1, updated_at = now()
			)
			SELECT count(*) FROM expired`, expireBatch).Scan(&n)
		if err != nil {
			return total, fmt.Errorf("expire events: %w", err)
		}
		if total += n; n < expireBatch {
			return total, nil
		}
	}
}

// Runner owns the River client.
type Runner struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	client  *river.Client[pgx.Tx]
	needs   int // the version of River's tables that this River works with
	started atomic.Bool
	lease   lease
}

// lease is until when some client leads, as far as was seen. A leader that resigns takes its row with it (the other slot
// that stops, say), and a restored database has the row of long ago: neither means that nobody has led since.
type lease struct {
	mu    sync.Mutex
	until time.Time
}

// held takes what the table says (nil: nobody leads), and tells whether somebody led until a moment ago. A lease that is
// longer than the grace is of another clock: the database was moved to another host.
func (l *lease) held(until *time.Time, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.After(now.Add(leaderGrace)) {
		l.until = time.Time{}
	}
	if until != nil && until.After(l.until) {
		l.until = *until
	}
	return l.until.After(now.Add(-leaderGrace))
}

// New prepares the client and touches no database.
func New(pool *pgxpool.Pool, log *slog.Logger) (*Runner, error) {
	driver := riverpgxv5.New(pool)
	workers := river.NewWorkers()
	river.AddWorker(workers, &expireWorker{pool: pool, log: log})
	client, err := river.NewClient(driver, &river.Config{
		Logger:  log,
		Workers: workers,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(
			river.PeriodicInterval(expireInterval),
			func() (river.JobArgs, *river.InsertOpts) {
				return ExpireEvents{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: expireInterval}}
			},
			&river.PeriodicJobOpts{RunOnStart: true},
		)},
		// Both slots share the queue: the older release leaves the newer one's kinds of jobs to it.
		FetchOnlyKnownKinds: true,
		// Rebuilding indexes takes their owner, and this role has DML rights only.
		ReindexerIndexNames: []string{},
	})
	if err != nil {
		return nil, err
	}
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	needs := 0
	for _, m := range migrator.AllVersions() {
		needs = max(needs, m.Version)
	}
	return &Runner{pool: pool, log: log, client: client, needs: needs}, nil
}

// Start starts River as soon as the database and River's tables are there, and returns then, or when ctx ends.
func (r *Runner) Start(ctx context.Context) {
	var last string
	for ctx.Err() == nil {
		err := r.start(ctx)
		if err == nil {
			return
		}
		if message := err.Error(); message != last && ctx.Err() == nil {
			r.log.WarnContext(ctx, "jobs cannot start yet", "error", message)
			last = message
		}
		select {
		case <-ctx.Done():
		case <-time.After(startInterval):
		}
	}
}

func (r *Runner) start(ctx context.Context) error {
	check, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// Started without its tables, River would only log errors for ever.
	var version int
	err := r.pool.QueryRow(check, "SELECT coalesce(max(version), 0) FROM river_migration WHERE line = 'main'").Scan(&version)
	if err != nil {
		return fmt.Errorf("read the version of River's tables: %w", err)
	}
	if version < r.needs {
		return fmt.Errorf("River's tables are at version %d, this release needs %d", version, r.needs)
	}
	// Its context outlives ctx: Stop lets running jobs finish, cancelling the context would not.
	if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	r.started.Store(true)
	return nil
}

// Check tells whether the queue works: this client was started, and some client leads (schedules periodic jobs,
// retries and clean-up), which it has to confirm in the table every few seconds.
func (r *Runner) Check(ctx context.Context, db *pgxpool.Pool) error {
	if !r.started.Load() {
		return errors.New("River has not been started yet")
	}
	var until *time.Time
	var now time.Time
	if err := db.QueryRow(ctx, "SELECT max(expires_at), now() FROM river_leader").Scan(&until, &now); err != nil {
		return err
	}
	if !r.lease.held(until, now) {
		return errors.New("no River client leads")
	}
	return nil
}

// Stop fetches no more jobs and waits for the running ones; when ctx ends, it cancels them. Call it after Start has returned.
func (r *Runner) Stop(ctx context.Context) error {
	if !r.started.Swap(false) {
		return nil
	}
	if err := r.client.Stop(ctx); err == nil {
		return nil
	}
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), hardStopTimeout)
	defer cancel()
	if err := r.client.StopAndCancel(hard); err != nil {
		return fmt.Errorf("jobs did not stop after being cancelled: %w", err)
	}
	return errors.New("jobs were cancelled; they will be retried")
}
