package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// bucketMs is how fine the times of the result are.
const bucketMs = 100

// growth is the width of a latency class: each is 5 % above the one before, from 1 microsecond.
const growth = 1.05

// moment is what happened in 100 ms, by the end of the request.
type moment struct {
	// Answers by the slot that gave them.
	Ok map[string]int `json:"ok"`
	// Requests without a good answer.
	Lost int `json:"lost"`
	// Latency class to requests.
	Latency map[int]int `json:"latency"`
}

type result struct {
	Start    int64          `json:"start"`
	BucketMs int64          `json:"bucketMs"`
	Growth   float64        `json:"growth"`
	Moments  []*moment      `json:"moments"`
	Lost     map[string]int `json:"lost"`
	Requests int            `json:"requests"`
	// For each posting client, how many ids were acknowledged; and the ids that were not.
	Posted       int      `json:"posted"`
	Acknowledged int      `json:"acknowledged"`
	Unknown      []string `json:"unknown"`
}

type recorder struct {
	mu     sync.Mutex
	start  time.Time
	result result
	acked  *bufio.Writer
}

func (r *recorder) at(t time.Time) *moment {
	index := int(t.Sub(r.start).Milliseconds() / bucketMs)
	for len(r.result.Moments) <= index {
		r.result.Moments = append(r.result.Moments, &moment{Ok: map[string]int{}, Latency: map[int]int{}})
	}
	return r.result.Moments[index]
}

func (r *recorder) note(began time.Time, slot, problem string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.at(now)
	r.result.Requests++
	if problem != "" {
		m.Lost++
		r.result.Lost[problem]++
		return
	}
	m.Ok[slot]++
	m.Latency[int(math.Log(float64(max(1, now.Sub(began).Microseconds())))/math.Log(growth))]++
}

func (r *recorder) noteWrite(id string, acknowledged bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Posted++
	if acknowledged {
		r.result.Acknowledged++
		r.acked.WriteString(id + "\n")
	} else {
		r.result.Unknown = append(r.result.Unknown, id)
	}
}

// client keeps one connection open and sends one request after the other. What fails is lost: Go's own client would send a
// GET again.
type client struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

func (c *client) send(request string) (slot string, err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout("tcp", c.address, 5*time.Second); err != nil {
			c.conn = nil
			return "", fmt.Errorf("connect: %w", err)
		}
		c.reader = bufio.NewReader(c.conn)
	}
	defer func() {
		if err != nil && c.conn != nil {
			c.conn.Close()
			c.conn = nil
		}
	}()
	c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err = io.WriteString(c.conn, request); err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	if _, err = io.Copy(io.Discard, response.Body); err != nil {
		return "", fmt.Errorf("body: %w", err)
	}
	response.Body.Close()
	if response.StatusCode >= 300 {
		err = fmt.Errorf("status %d", response.StatusCode)
		return "", err
	}
	if response.Close {
		c.conn.Close()
		c.conn = nil
	}
	return response.Header.Get("X-Served-By"), nil
}

// kind is the part of a failure that does not differ from one to the next.
func kind(err error) string {
	text := err.Error()
	step, _, _ := strings.Cut(text, ":")
	for _, known := range []string{"connection reset", "connection refused", "EOF", "broken pipe", "timeout"} {
		if strings.Contains(text, known) {
			return step + ": " + known
		}
	}
	return text
}

// load runs clients until its stdin is closed, then prints the result as JSON.
func load(args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	address := flags.String("address", "", "host:port of the router, on the loopback")
	busy := flags.Int("busy", 2, "clients of each method that never pause")
	thinking := flags.Int("thinking", 16, "clients of each method that pause between requests")
	think := flags.Duration("think", 20*time.Millisecond, "mean pause")
	pause := flags.Duration("pause", 0, "pause of the busy ones")
	acked := flags.String("acknowledged", "", "file for the ids of acknowledged writes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(*address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is not this machine's loopback", *address)
	}
	file, err := os.Create(*acked)
	if err != nil {
		return err
	}
	all := &recorder{start: time.Now(), acked: bufio.NewWriter(file)}
	all.result = result{Start: all.start.UnixMilli(), BucketMs: bucketMs, Growth: growth, Lost: map[string]int{}, Unknown: []string{}}
	done := make(chan struct{})
	var clients sync.WaitGroup
	run := func(name string, post bool, pause func() time.Duration) {
		defer clients.Done()
		c := &client{address: *address}
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			request := "GET /page HTTP/1.1\r\nHost: bench\r\n\r\n"
			id := fmt.Sprintf("%s-%d", name, i)
			if post {
				request = fmt.Sprintf("POST /append HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
			}
			began := time.Now()
			slot, err := c.send(request)
			if err != nil {
				all.note(began, "", kind(err))
				time.Sleep(5 * time.Millisecond)
			} else {
				all.note(began, slot, "")
			}
			if post {
				all.noteWrite(id, err == nil)
			}
			time.Sleep(pause())
		}
	}
	for _, post := range []bool{false, true} {
		for i := range *busy {
			clients.Add(1)
			go run(fmt.Sprintf("busy%d", i), post, func() time.Duration { return *pause })
		}
		for i := range *thinking {
			clients.Add(1)
			go run(fmt.Sprintf("thinking%d", i), post, func() time.Duration { return time.Duration(rand.ExpFloat64() * float64(*think)) })
		}
	}
	io.Copy(io.Discard, os.Stdin)
	close(done)
	clients.Wait()
	if err := all.acked.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(all.result)
}
