package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// ledger keeps what was posted, in the order in which it came, and never forgets: the file outlives the process.
type ledger struct {
	mu   sync.Mutex
	file *bufio.Writer
}

func (l *ledger) append(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.WriteString(id + "\n"); err != nil {
		return err
	}
	// An acknowledged write survives the process.
	return l.file.Flush()
}

// serve is a slot's server: healthy, quick, and drained when it is told to stop.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	slot := flags.String("slot", "", "its name, sent with each answer")
	version := flags.String("version", "v1.0.0", "what /health says")
	path := flags.String("ledger", "", "file of what was posted")
	start := flags.Duration("start", 0, "how long it takes until it listens, as real servers do")
	if err := flags.Parse(args); err != nil {
		return err
	}
	file, err := os.OpenFile(*path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	book := &ledger{file: bufio.NewWriter(file)}
	time.Sleep(*start)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"healthy","version":%q,"database":"connected","migrations":"up-to-date","jobs":"operational","uptime":1}`, *version)
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Served-By", *slot)
		io.WriteString(w, "a page of some events\n")
	})
	mux.HandleFunc("POST /append", func(w http.ResponseWriter, r *http.Request) {
		id, err := io.ReadAll(io.LimitReader(r.Body, 100))
		if err == nil {
			err = book.append(string(id))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Served-By", *slot)
		w.WriteHeader(http.StatusCreated)
	})

	server := &http.Server{Addr: ":8080", Handler: mux, IdleTimeout: 2 * time.Minute}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	drained := make(chan error, 1)
	go func() {
		<-stop.Done()
		drained <- server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}
