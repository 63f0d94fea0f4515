package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"togather.example/server/internal/health"
)

const (
	secret = "a-secret-of-at-least-32-characters"
	key    = "an-admin-key"
)

// newAPI has no store: a request that gets as far as the database panics, and is answered with 500.
func newAPI(change func(*Options)) *API {
	o := Options{
		Build:       Build{Version: "v1.2.3", Commit: "abc", Built: "today", Slot: "blue"},
		Registry:    prometheus.NewRegistry(),
		Log:         slog.New(slog.NewTextHandler(io.Discard, nil)),
		JWTSecret:   []byte(secret),
		AdminAPIKey: key,
		Health: func(context.Context) (health.Report, health.Observation) {
			return health.Report{Status: "healthy"}, health.Observation{}
		},
	}
	if change != nil {
		change(&o)
	}
	return New(o)
}

func ask(a http.Handler, method, path, authorization, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

func token(t *testing.T, method jwt.SigningMethod, signingKey any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(signingKey)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + s
}

func TestTokens(t *testing.T) {
	a := newAPI(nil)
	soon := time.Now().Add(time.Hour).Unix()
	// Past authorization, "x" is no event's id.
	const in, out = http.StatusNotFound, http.StatusUnauthorized
	for name, test := range map[string]struct {
		authorization string
		want          int
	}{
		"valid":            {token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"exp": soon}), in},
		"none":             {"", out},
		"not a token":      {"Bearer x", out},
		"another secret":   {token(t, jwt.SigningMethodHS256, []byte(secret+"x"), jwt.MapClaims{"exp": soon}), out},
		"expired":          {token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"exp": time.Now().Add(-time.Second).Unix()}), out},
		"for ever":         {token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "me"}), out},
		"other algorithm":  {token(t, jwt.SigningMethodHS512, []byte(secret), jwt.MapClaims{"exp": soon}), out},
		"unsigned":         {token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"exp": soon}), out},
		"not yet valid":    {token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"exp": soon, "nbf": soon}), out},
		"the admin's key":  {"Bearer " + key, out},
		"the secret bare":  {"Bearer " + secret, out},
		"a scheme of ours": {"Token x", out},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(a, "DELETE", "/api/v1/events/x", test.authorization, ""); w.Code != test.want {
				t.Errorf("got %d, want %d", w.Code, test.want)
			}
		})
	}
}

func TestAdminKey(t *testing.T) {
	a := newAPI(nil)
	// Past authorization the missing store panics.
	const in, out = http.StatusInternalServerError, http.StatusUnauthorized
	for authorization, want := range map[string]int{
		"Bearer " + key: in, "bearer " + key: in, "": out, key: out, "Bearer": out, "Bearer ": out,
		"Basic " + key: out, "Bearer " + key + "x": out, "Bearer " + key[1:]: out,
	} {
		w := ask(a, "GET", "/api/v1/admin/stats", authorization, "")
		if w.Code != want {
			t.Errorf("%q: got %d, want %d", authorization, w.Code, want)
		}
		if want == out && w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%q: no WWW-Authenticate", authorization)
		}
	}
}

func TestEveryResponseSaysWhoAnswered(t *testing.T) {
	a := newAPI(nil)
	for path, want := range map[string]int{
		"/health": 200, "/healthz": 200, "/readyz": 200, "/version": 200, "/metrics": 200,
		"/api/v1/admin/stats": 401, "/nothing": 404, "/api/v1/events?limit=0": 400, "/api/v1/slow?seconds=0": 404,
		"/api/v1/events": 500, // panics, see newAPI
	} {
		w := ask(a, "GET", path, "", "")
		if w.Code != want || w.Header().Get("X-Togather-Version") != "v1.2.3" || w.Header().Get("X-Togather-Slot") != "blue" {
			t.Errorf("%s: got %d with %v, want %d", path, w.Code, w.Header(), want)
		}
	}
	if w := ask(a, "PUT", "/api/v1/events", "", ""); w.Code != 404 {
		t.Errorf("PUT: got %d", w.Code)
	}
	if got := ask(a, "GET", "/version", "", "").Body.String(); got != `{"version":"v1.2.3","commit":"abc","built":"today","slot":"blue"}`+"\n" {
		t.Errorf("version: %s", got)
	}
}

func TestReadiness(t *testing.T) {
	status := "healthy"
	a := newAPI(func(o *Options) {
		o.Health = func(context.Context) (health.Report, health.Observation) {
			return health.Report{Status: status}, health.Observation{}
		}
	})
	expect := func(path string, want int) {
		t.Helper()
		if got := ask(a, "GET", path, "", "").Code; got != want {
			t.Errorf("%s %s: got %d, want %d", status, path, got, want)
		}
	}
	expect("/readyz", 200)
	status = "degraded"
	expect("/readyz", 200)
	expect("/health", 200)
	status = "unhealthy"
	expect("/readyz", 503)
	expect("/health", 503)
	expect("/healthz", 200) // restarting would not help
	status = "healthy"
	a.Drain()
	expect("/readyz", 503)
	expect("/health", 200) // still the truth
	if got := ask(a, "GET", "/healthz", "", "").Header().Get("Connection"); got != "close" {
		t.Errorf("connections are kept while draining")
	}
}

func TestSlow(t *testing.T) {
	a := newAPI(func(o *Options) { o.TestEndpoints = true })
	for seconds, want := range map[string]int{"0": 200, "0.01": 200, "61": 400, "-1": 400, "NaN": 400, "": 400, "1e999": 400} {
		if got := ask(a, "GET", "/api/v1/slow?seconds="+seconds, "", "").Code; got != want {
			t.Errorf("%q: got %d, want %d", seconds, got, want)
		}
	}
}

func TestBadBodies(t *testing.T) {
	a := newAPI(nil)
	for body, want := range map[string]string{
		``:                          "body: EOF",
		`{`:                         "body: unexpected EOF",
		`{"nam":"x"}`:               `unknown field \"nam\"`,
		`{} {}`:                     "more than one",
		`{}`:                        "name: must have 1 to 200 characters; starts_at: is missing",
		`{"name":"  ","id":"nope"}`: "invalid UUID",
		`{"name":"x","starts_at":"2026-01-02T00:00:00Z","ends_at":"2026-01-01T00:00:00Z"}`: "ends_at: is before",
		`{"name":"x","starts_at":"2026-01-02T00:00:00Z","embedding":[1]}`:                  "must have 384",
	} {
		w := ask(a, "POST", "/api/v1/events", "", body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want 400 with %s", body, w.Code, w.Body, want)
		}
	}
	if w := ask(a, "POST", "/api/v1/events", "", `{"name":"`+strings.Repeat("x", maxBody)+`"}`); w.Code != 413 {
		t.Errorf("large body: got %d", w.Code)
	}
	for _, body := range []string{`{"name":"x"}`, `{"name":"x","latitude":91,"longitude":0}`, `{"name":"x","latitude":0,"longitude":-181}`} {
		if w := ask(a, "POST", "/api/v1/places", "", body); w.Code != 400 {
			t.Errorf("%s: got %d", body, w.Code)
		}
	}
	for _, path := range []string{"/api/v1/places?latitude=1", "/api/v1/places?latitude=x&longitude=1", "/api/v1/events?from=today", "/api/v1/events?after=1"} {
		if w := ask(a, "GET", path, "", ""); w.Code != 400 {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
}
