package health

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

var errTest = errors.New("test")

func TestMigrations(t *testing.T) {
	const expected = 4
	for name, test := range map[string]struct {
		schema Schema
		want   string
	}{
		"nothing applied":           {Schema{}, "pending"},
		"behind":                    {Schema{Version: 3}, "pending"},
		"as expected":               {Schema{Version: 4}, "up-to-date"},
		"ahead, after a rollback":   {Schema{Version: 5}, "up-to-date"},
		"behind and dirty":          {Schema{Version: 3, Dirty: true}, "unknown"},
		"the expected one is dirty": {Schema{Version: 4, Dirty: true}, "unknown"},
		"the next release's one runs, or is stuck": {Schema{Version: 5, Dirty: true}, "up-to-date"},
		"unreadable": {Schema{Err: errTest}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Migrations(test.schema, expected); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDecide(t *testing.T) {
	current := Schema{Version: 4}
	for name, test := range map[string]struct {
		o    Observation
		want Report
		code int
	}{
		"all well":      {Observation{Schema: current}, Report{Status: "healthy", Database: "connected", Migrations: "up-to-date", Jobs: "operational"}, 200},
		"jobs down":     {Observation{Schema: current, Jobs: errTest}, Report{Status: "degraded", Database: "connected", Migrations: "up-to-date", Jobs: "degraded"}, 200},
		"pending":       {Observation{Schema: Schema{Version: 3}}, Report{Status: "unhealthy", Database: "connected", Migrations: "pending", Jobs: "operational"}, 503},
		"unknown":       {Observation{Schema: Schema{Err: errTest}}, Report{Status: "unhealthy", Database: "connected", Migrations: "unknown", Jobs: "operational"}, 503},
		"pending, jobs": {Observation{Jobs: errTest}, Report{Status: "unhealthy", Database: "connected", Migrations: "pending", Jobs: "degraded"}, 503},
		"no database": {Observation{Database: errTest, Jobs: errTest, Schema: current},
			Report{Status: "unhealthy", Database: "disconnected", Migrations: "unknown", Jobs: "degraded"}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			test.want.Version, test.want.Uptime = "v1.2.3", 61
			got := Decide(test.o, 4, "v1.2.3", 61900*time.Millisecond)
			if got != test.want || got.HTTPStatus() != test.code {
				t.Errorf("got %+v (%d), want %+v (%d)", got, got.HTTPStatus(), test.want, test.code)
			}
		})
	}
}

// The gate and monitoring read these names.
func TestReportShape(t *testing.T) {
	body, _ := json.Marshal(Decide(Observation{Schema: Schema{Version: 1}}, 1, "v1", 0))
	const want = `{"status":"healthy","version":"v1","database":"connected","migrations":"up-to-date","jobs":"operational","uptime":0}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}
