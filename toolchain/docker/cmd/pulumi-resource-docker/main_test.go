package main

import (
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
)

func TestEndsWithTheEngine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// An engine that knows nothing of health checks is one that lives.
	engine := grpc.NewServer()
	go func() { _ = engine.Serve(listener) }()
	gone := make(chan bool, 1)
	endWithEngine([]string{"-tracing", "x", listener.Addr().String()}, 100*time.Millisecond, func() { gone <- true })
	select {
	case <-gone:
		t.Fatal("it ended while the engine was there")
	case <-time.After(time.Second):
	}
	engine.Stop()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on without an engine")
	}
}
