// The Togather server: events and places of a community, made to be deployed blue-green.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // the image has no time zones

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"togather.example/server/internal/config"
	"togather.example/server/internal/health"
	"togather.example/server/internal/httpapi"
	"togather.example/server/internal/jobs"
	"togather.example/server/internal/store"
)

// Set by the linker: -X main.version=…
var (
	version = "dev"
	commit  = "unknown"
	built   = "unknown"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // could not listen, or requests were cut off
	exitConfig = 2
)

func main() {
	switch {
	case len(os.Args) == 1:
		os.Exit(serve())
	case os.Args[1] == "healthcheck" && len(os.Args) <= 3:
		os.Exit(healthcheck(append(os.Args, "/health")[2]))
	case os.Args[1] == "version":
		fmt.Printf("%s (commit %s, built %s)\n", version, commit, built)
	default:
		fmt.Fprintln(os.Stderr, "usage: server [healthcheck [PATH] | version]")
		os.Exit(exitConfig)
	}
}

func serve() int {
	started := time.Now()
	c, err := config.Load(os.Getenv)
	if err != nil {
		var problems config.Problems
		errors.As(err, &problems)
		slog.New(slog.NewJSONHandler(os.Stderr, nil)).Error("invalid configuration", "problems", []string(problems))
		return exitConfig
	}
	log := slog.New(slog.NewJSONHandler(newRedactor(os.Stdout, c.Secrets), &slog.HandlerOptions{Level: c.LogLevel}))
	log = log.With("slot", c.Slot, "version", version)

	// Neither pool connects now: the server starts without a database, and says so on /health.
	pool, err := pgxpool.NewWithConfig(context.Background(), c.Database)
	if err != nil {
		log.Error("database pool", "error", err.Error())
		return exitFailed
	}
	healthPool, err := pgxpool.NewWithConfig(context.Background(), c.HealthDatabase)
	if err != nil {
		log.Error("database pool", "error", err.Error())
		return exitFailed
	}
	runner, err := jobs.New(pool, log)
	if err != nil {
		log.Error("jobs", "error", err.Error())
		return exitFailed
	}
	checker := &health.Checker{
		Pool:     healthPool,
		Jobs:     func(ctx context.Context) error { return runner.Check(ctx, healthPool) },
		Expected: c.ExpectedMigration,
		Version:  version,
		Started:  started,
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registerPool(registry, pool)
	api := httpapi.New(httpapi.Options{
		Build:         httpapi.Build{Version: version, Commit: commit, Built: built, Slot: c.Slot},
		Store:         &store.Store{Pool: pool},
		Health:        checker.Check,
		Registry:      registry,
		Log:           log,
		JWTSecret:     c.JWTSecret,
		AdminAPIKey:   c.AdminAPIKey,
		TestEndpoints: c.TestEndpoints,
	})
	server := &http.Server{
		Handler:           api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		// Longer than the router keeps idle connections (60 s), so that it is never the server that closes one which
		// the router is about to use.
		IdleTimeout: 120 * time.Second,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(c.Port)))
	if err != nil {
		log.Error("cannot listen", "error", err.Error())
		return exitFailed
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	jobsContext, cancelJobs := context.WithCancel(context.Background())
	defer cancelJobs()
	var starting sync.WaitGroup
	starting.Go(func() { runner.Start(jobsContext) })
	log.Info("listening", "port", c.Port, "commit", commit, "built", built, "expected_migration", c.ExpectedMigration)

	select {
	case err := <-served:
		log.Error("cannot serve", "error", err.Error())
		return exitFailed
	case s := <-signals:
		log.Info("draining", "signal", s.String(), "timeout_s", c.ShutdownTimeout.Seconds())
	}
	go func() {
		<-signals
		log.Error("second signal: exiting at once")
		os.Exit(exitFailed)
	}()

	api.Drain()
	time.Sleep(c.ShutdownDelay)
	ctx, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout)
	defer cancel()
	var draining sync.WaitGroup
	draining.Go(func() {
		cancelJobs()
		starting.Wait()
		if err := runner.Stop(ctx); err != nil {
			log.Warn("jobs", "error", err.Error())
		}
	})
	code := exitOK
	if err := server.Shutdown(ctx); err != nil {
		log.Error("requests were cut off", "error", err.Error())
		_ = server.Close()
		code = exitFailed
	}
	draining.Wait()
	// Not pool.Close(): that waits for connections which a stuck job may hold. The end of the process closes them.
	log.Info("stopped", "code", code)
	return code
}

// healthcheck is the container's HEALTHCHECK: the image has nothing else that could ask.
func healthcheck(path string) int {
	client := &http.Client{Timeout: 4 * time.Second}
	response, err := client.Get("http://127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "8080") + path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	defer response.Body.Close()
	_, _ = io.Copy(os.Stdout, io.LimitReader(response.Body, 4096))
	if response.StatusCode != http.StatusOK {
		return exitFailed
	}
	return exitOK
}

func registerPool(registry *prometheus.Registry, pool *pgxpool.Pool) {
	gauge := func(name, help string, value func(*pgxpool.Stat) float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "togather_database_" + name, Help: help},
			func() float64 { return value(pool.Stat()) }))
	}
	gauge("connections", "Open connections of the pool.", func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	gauge("connections_acquired", "Connections in use.", func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
	gauge("connections_max", "Limit of the pool.", func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
}

// redactor is the last thing before the log: whatever a library puts into an error, no secret gets through. A handler
// writes each record with one call.
type redactor struct {
	to      io.Writer
	secrets [][]byte
}

func newRedactor(to io.Writer, secrets []string) *redactor {
	r := &redactor{to: to}
	for _, s := range secrets {
		// Short ones would blank out ordinary text, and protect nothing.
		if len(s) < 6 {
			continue
		}
		// As slog writes it.
		var escaped bytes.Buffer
		encoder := json.NewEncoder(&escaped)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(s)
		r.secrets = append(r.secrets, bytes.TrimSuffix(bytes.TrimPrefix(escaped.Bytes(), []byte(`"`)), []byte("\"\n")))
	}
	return r
}

func (r *redactor) Write(line []byte) (int, error) {
	clean := line
	for _, s := range r.secrets {
		clean = bytes.ReplaceAll(clean, s, []byte("***REDACTED***"))
	}
	if _, err := r.to.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}
