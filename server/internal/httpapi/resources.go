package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"togather.example/server/internal/store"
)

const (
	maxName        = 200
	maxText        = 10_000
	embeddingSize  = 384
	maxRadius      = 1_000_000 // metres
	defaultRadius  = 1_000
	defaultPerPage = 50
	maxPerPage     = 500
)

func (a *API) postEvent(w http.ResponseWriter, r *http.Request) {
	var n store.NewEvent
	if !readJSON(w, r, &n) {
		return
	}
	var problems []string
	n.Name, problems = checkName(n.Name, problems)
	if utf8.RuneCountInString(n.Description) > maxText {
		problems = append(problems, fmt.Sprintf("description: has more than %d characters", maxText))
	}
	if n.StartsAt.IsZero() {
		problems = append(problems, "starts_at: is missing")
	}
	// What PostgreSQL keeps of a time: else a repeated request would not be the same.
	n.StartsAt = n.StartsAt.Truncate(time.Microsecond)
	if n.EndsAt != nil {
		*n.EndsAt = n.EndsAt.Truncate(time.Microsecond)
		if n.EndsAt.Before(n.StartsAt) {
			problems = append(problems, "ends_at: is before starts_at")
		}
	}
	if n.Embedding != nil && len(n.Embedding) != embeddingSize {
		problems = append(problems, fmt.Sprintf("embedding: must have %d numbers", embeddingSize))
	}
	if refuse(w, problems) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	event, created, err := a.Store.CreateEvent(ctx, n)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/api/v1/events/"+event.ID.String())
	if created {
		writeJSON(w, http.StatusCreated, event)
	} else {
		writeJSON(w, http.StatusOK, event)
	}
}

func (a *API) getEvent(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	event, err := a.Store.Event(ctx, id)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, event)
}

func (a *API) getEvents(w http.ResponseWriter, r *http.Request) {
	q := query{values: r.URL.Query()}
	f := store.EventFilter{From: q.time("from"), To: q.time("to"), PlaceID: q.id("place"), After: q.id("after"), Limit: q.limit()}
	if refuse(w, q.problems) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	events, err := a.Store.Events(ctx, f)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"events": events})
}

func (a *API) getSimilarEvents(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	q := query{values: r.URL.Query()}
	limit := q.limit()
	if refuse(w, q.problems) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	events, err := a.Store.SimilarEvents(ctx, id, limit)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"events": events})
}

func (a *API) deleteEvent(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	if err := a.Store.DeleteEvent(ctx, id); err != nil {
		a.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) postPlace(w http.ResponseWriter, r *http.Request) {
	var n store.NewPlace
	if !readJSON(w, r, &n) {
		return
	}
	var problems []string
	n.Name, problems = checkName(n.Name, problems)
	if utf8.RuneCountInString(n.Address) > maxText {
		problems = append(problems, fmt.Sprintf("address: has more than %d characters", maxText))
	}
	if n.Latitude == nil || !(*n.Latitude >= -90 && *n.Latitude <= 90) {
		problems = append(problems, "latitude: must be a number from -90 to 90")
	}
	if n.Longitude == nil || !(*n.Longitude >= -180 && *n.Longitude <= 180) {
		problems = append(problems, "longitude: must be a number from -180 to 180")
	}
	if refuse(w, problems) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	place, err := a.Store.CreatePlace(ctx, n)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, place)
}

func (a *API) getPlaces(w http.ResponseWriter, r *http.Request) {
	q := query{values: r.URL.Query()}
	f := store.PlaceFilter{
		Name:      q.values.Get("q"),
		Latitude:  q.number("latitude", -90, 90),
		Longitude: q.number("longitude", -180, 180),
		Radius:    defaultRadius,
		Limit:     q.limit(),
	}
	if radius := q.number("radius", 0, maxRadius); radius != nil {
		f.Radius = *radius
	}
	if len(q.problems) == 0 && (f.Latitude == nil) != (f.Longitude == nil) {
		q.problems = append(q.problems, "latitude and longitude: give both or neither")
	}
	if refuse(w, q.problems) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	places, err := a.Store.Places(ctx, f)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"places": places})
}

func (a *API) getStats(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), databaseTimeout)
	defer cancel()
	stats, err := a.Store.Stats(ctx)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	pool := a.Store.Pool.Stat()
	writeJSON(w, http.StatusOK, struct {
		store.Stats
		Build Build            `json:"build"`
		Pool  map[string]int32 `json:"pool"`
	}{stats, a.Build, map[string]int32{"total": pool.TotalConns(), "acquired": pool.AcquiredConns(), "max": pool.MaxConns()}})
}

func checkName(name string, problems []string) (string, []string) {
	name = strings.TrimSpace(name)
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName {
		problems = append(problems, fmt.Sprintf("name: must have 1 to %d characters", maxName))
	}
	return name, problems
}

func refuse(w http.ResponseWriter, problems []string) bool {
	if len(problems) == 0 {
		return false
	}
	writeError(w, http.StatusBadRequest, strings.Join(problems, "; "))
	return true
}

func pathID(w http.ResponseWriter, r *http.Request) (uuid.UUID, bool) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		writeError(w, http.StatusNotFound, "not found")
	}
	return id, err == nil
}

// query reads optional parameters and collects what is wrong with them.
type query struct {
	values   url.Values
	problems []string
}

func parse[T any](q *query, key, want string, parser func(string) (T, error)) *T {
	value := q.values.Get(key)
	if value == "" {
		return nil
	}
	v, err := parser(value)
	if err != nil {
		q.problems = append(q.problems, key+": must be "+want)
		return nil
	}
	return &v
}

func (q *query) id(key string) *uuid.UUID { return parse(q, key, "a UUID", uuid.Parse) }

func (q *query) time(key string) *time.Time {
	return parse(q, key, "a time as in RFC 3339", func(s string) (time.Time, error) { return time.Parse(time.RFC3339, s) })
}

func (q *query) number(key string, low, high float64) *float64 {
	return parse(q, key, fmt.Sprintf("a number from %v to %v", low, high), func(s string) (float64, error) {
		n, err := strconv.ParseFloat(s, 64)
		if err == nil && !(n >= low && n <= high) {
			err = strconv.ErrRange
		}
		return n, err
	})
}

func (q *query) limit() int {
	n := q.number("limit", 1, maxPerPage)
	if n == nil {
		return defaultPerPage
	}
	return int(*n)
}
