package jobs

import (
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	now := time.Date(2026, 1, 28, 14, 30, 22, 0, time.UTC)
	at := func(d time.Duration) *time.Time { when := now.Add(d); return &when }
	var l lease
	for _, step := range []struct {
		name  string
		until *time.Time
		after time.Duration
		want  bool
	}{
		{"nobody has ever led", nil, 0, false},
		{"somebody led long ago", at(-time.Hour), 0, false},
		{"somebody leads", at(15 * time.Second), 0, true},
		{"it has resigned", nil, 10 * time.Second, true},
		{"an old database takes the place", at(-time.Hour), 40 * time.Second, true},
		{"nobody comes after it", nil, 46 * time.Second, false},
		{"somebody leads again", at(65 * time.Second), 50 * time.Second, true},
		{"the database has moved to a host whose clock is behind", nil, -time.Hour, false},
		{"and somebody leads there", at(-time.Hour + 15*time.Second), -time.Hour, true},
	} {
		if got := l.held(step.until, now.Add(step.after)); got != step.want {
			t.Errorf("%s: got %v, want %v", step.name, got, step.want)
		}
	}
}
