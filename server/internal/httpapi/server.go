// Package httpapi is the server's HTTP interface.
package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"togather.example/server/internal/health"
	"togather.example/server/internal/store"
)

const (
	maxBody = 1 << 20
	// What one request may spend in the database.
	databaseTimeout = 10 * time.Second
	maxSlowSeconds  = 60
)

// Build says what runs here.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Built   string `json:"built"`
	Slot    string `json:"slot"`
}

// Options of the interface.
type Options struct {
	Build         Build
	Store         *store.Store
	Health        func(context.Context) (health.Report, health.Observation)
	Registry      *prometheus.Registry
	Log           *slog.Logger
	JWTSecret     []byte
	AdminAPIKey   string
	TestEndpoints bool
}

// API is the http.Handler.
type API struct {
	Options
	handler   http.Handler
	draining  atomic.Bool
	duration  *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	lastState atomic.Pointer[health.Report]
}

// New registers the routes.
func New(o Options) *API {
	a := &API{
		Options: o,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "togather_http_request_duration_seconds", Help: "Duration of requests by route, method and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "togather_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "togather_build_info", Help: "What runs here; always 1.",
		ConstLabels: prometheus.Labels{"version": o.Build.Version, "commit": o.Build.Commit, "slot": o.Build.Slot},
	})
	build.Set(1)
	o.Registry.MustRegister(a.duration, a.inFlight, build)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", a.getHealth)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", a.getReady)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, a.Build) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{}))

	mux.HandleFunc("POST /api/v1/events", a.postEvent)
	mux.HandleFunc("GET /api/v1/events", a.getEvents)
	mux.HandleFunc("GET /api/v1/events/{id}", a.getEvent)
	mux.HandleFunc("GET /api/v1/events/{id}/similar", a.getSimilarEvents)
	mux.HandleFunc("DELETE /api/v1/events/{id}", a.withToken(a.deleteEvent))
	mux.HandleFunc("POST /api/v1/places", a.postPlace)
	mux.HandleFunc("GET /api/v1/places", a.getPlaces)
	mux.HandleFunc("GET /api/v1/admin/stats", a.withAdminKey(a.getStats))
	if o.TestEndpoints {
		mux.HandleFunc("GET /api/v1/slow", getSlow)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "no such endpoint")
	})
	a.handler = mux
	return a
}

// Drain makes the server not ready and asks clients not to reuse their connections. It goes on answering.
func (a *API) Drain() { a.draining.Store(true) }

// ServeHTTP is what every request goes through.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	header := w.Header()
	header.Set("X-Togather-Version", a.Build.Version)
	header.Set("X-Togather-Slot", a.Build.Slot)
	if a.draining.Load() {
		header.Set("Connection", "close")
	}
	a.inFlight.Inc()
	recorder := &statusRecorder{ResponseWriter: w}
	defer func() {
		a.inFlight.Dec()
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			a.Log.Error("panic in a request", "error", fmt.Sprint(p), "route", r.Pattern)
			if recorder.status == 0 {
				writeError(recorder, http.StatusInternalServerError, "internal error")
			}
		}
		duration := time.Since(started)
		a.duration.WithLabelValues(r.Pattern, strconv.Itoa(recorder.status)).Observe(duration.Seconds())
		a.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", recorder.status, "duration_ms", duration.Milliseconds())
	}()
	a.handler.ServeHTTP(recorder, r)
}

func (a *API) getHealth(w http.ResponseWriter, r *http.Request) {
	report, _ := a.check(r.Context())
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, report.HTTPStatus(), report)
}

func (a *API) getReady(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if a.draining.Load() {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	if report, _ := a.check(r.Context()); report.Status == "unhealthy" {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// check logs why the server is not healthy, once: the answer itself tells outsiders nothing about the database.
func (a *API) check(ctx context.Context) (health.Report, health.Observation) {
	report, o := a.Health(ctx)
	if ctx.Err() != nil {
		return report, o // the client has gone: that says nothing about the server
	}
	state := report
	state.Uptime = 0
	if last := a.lastState.Swap(&state); last == nil || *last != state {
		level := slog.LevelInfo
		if report.Status != "healthy" {
			level = slog.LevelWarn
		}
		attributes := []any{"status", report.Status, "database", report.Database, "migrations", report.Migrations,
			"schema_version", o.Schema.Version, "dirty", o.Schema.Dirty, "jobs", report.Jobs}
		if err := cmp.Or(o.Database, o.Schema.Err, o.Jobs); err != nil {
			attributes = append(attributes, "error", err.Error())
		}
		a.Log.Log(ctx, level, "health", attributes...)
	}
	return report, o
}

// withAdminKey lets in who knows ADMIN_API_KEY.
func (a *API) withAdminKey(next http.HandlerFunc) http.HandlerFunc {
	want := sha256.Sum256([]byte(a.AdminAPIKey))
	return func(w http.ResponseWriter, r *http.Request) {
		// Hashed, so that the time to compare tells nothing about the length either.
		got := sha256.Sum256([]byte(bearer(r)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			unauthorized(w)
			return
		}
		next(w, r)
	}
}

// withToken lets in who has a token signed with JWT_SECRET that has not expired.
func (a *API) withToken(next http.HandlerFunc) http.HandlerFunc {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	key := func(*jwt.Token) (any, error) { return a.JWTSecret, nil }
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := parser.Parse(bearer(r), key); err != nil {
			unauthorized(w)
			return
		}
		next(w, r)
	}
}

func bearer(r *http.Request) string {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credentials)
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", "Bearer")
	writeError(w, http.StatusUnauthorized, "unauthorized")
}

// getSlow is a request that is in flight for as long as a test likes.
func getSlow(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64)
	if err != nil || !(seconds >= 0 && seconds <= maxSlowSeconds) {
		writeError(w, http.StatusBadRequest, fmt.Sprintf("seconds must be a number from 0 to %d", maxSlowSeconds))
		return
	}
	select {
	case <-r.Context().Done():
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		writeJSON(w, http.StatusOK, map[string]float64{"seconds": seconds})
	}
}

// fail answers with what an error of the store means to a client.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var pgErr *pgconn.PgError
	isPg := errors.As(err, &pgErr)
	switch {
	case errors.Is(err, store.ErrNotFound):
		writeError(w, http.StatusNotFound, "not found")
	case errors.Is(err, store.ErrConflict):
		writeError(w, http.StatusConflict, err.Error())
	case isPg && pgErr.Code == "23503": // foreign_key_violation
		writeError(w, http.StatusUnprocessableEntity, "place_id: no such place")
	case isPg && (pgErr.Code == "23514" || strings.HasPrefix(pgErr.Code, "22")): // check_violation, data exception
		writeError(w, http.StatusBadRequest, "the database refused a value")
	case r.Context().Err() != nil: // the client has gone
		writeError(w, 499, "client closed the request")
	case unavailable(err, pgErr):
		a.Log.Error("the database is not available", "route", r.Pattern, "error", err.Error())
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "the database is not available; repeat with the same id")
	default:
		a.Log.Error("request failed", "route", r.Pattern, "error", err.Error())
		writeError(w, http.StatusInternalServerError, "internal error")
	}
}

// unavailable tells errors that pass from those that stay: no connection, too slow, or SQLSTATE classes 08, 53, 57.
func unavailable(err error, pgErr *pgconn.PgError) bool {
	if pgErr != nil {
		return len(pgErr.Code) == 5 && strings.Contains("08 53 57", pgErr.Code[:2])
	}
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, context.DeadlineExceeded) || store.Broken(err)
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil && decoder.More() {
		err = errors.New("more than one JSON value")
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &tooLarge):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
	default:
		writeError(w, http.StatusBadRequest, "body: "+strings.TrimPrefix(err.Error(), "json: "))
	}
	return false
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusRecorder) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
