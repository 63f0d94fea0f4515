// A file for the bundled server's main package, which gives it traits of servers that somebody else writes: a limit for
// each client, who is believed to be another one only by a proxy that it knows; settings that only a deployment can
// tell; a browser's wish for room; and no use for an admin API key. test/integration/deployment.test.ts adds it.
package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Set by the linker: -X main.domain=…
var domain = "nowhere"

const requestsOfEach = 3

// environment is the server's, which reads no admin API key.
func environment(name string) string {
	if name == "ADMIN_API_KEY" {
		return "a-key-that-opens-nothing"
	}
	return os.Getenv(name)
}

// traits answers below /traits/ and leaves all else to the server.
func traits(server http.Handler) http.Handler {
	var mutex sync.Mutex
	requests := map[string]int{}
	routes := http.NewServeMux()
	routes.HandleFunc("/traits/client", func(w http.ResponseWriter, r *http.Request) {
		name := client(r)
		mutex.Lock()
		requests[name]++
		count := requests[name]
		mutex.Unlock()
		status := http.StatusOK
		if count > requestsOfEach {
			status = http.StatusTooManyRequests
		}
		answer(w, status, map[string]any{"client": name, "requests": count})
	})
	routes.HandleFunc("/traits/told", func(w http.ResponseWriter, _ *http.Request) {
		_, hasAdminKey := os.LookupEnv("ADMIN_API_KEY")
		told := map[string]any{"domain": domain, "admin_key": hasAdminKey, "csrf_key": len(os.Getenv("CSRF_KEY"))}
		for _, name := range []string{"PUBLIC_URL", "SERVER_BASE_URL", "TRUSTED_PROXY_CIDRS", "TOLD"} {
			told[name] = os.Getenv(name)
		}
		answer(w, http.StatusOK, told)
	})
	routes.HandleFunc("/traits/room", func(w http.ResponseWriter, _ *http.Request) {
		room := map[string]any{"home": "written"}
		for _, path := range []string{"/tmp", "/dev/shm"} {
			var is syscall.Statfs_t
			if err := syscall.Statfs(path, &is); err == nil {
				room[path] = is.Blocks * uint64(is.Bsize) / (1 << 20)
			}
		}
		if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "profile"), []byte("x"), 0o600); err != nil {
			room["home"] = err.Error()
		}
		answer(w, http.StatusOK, room)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/traits/") {
			routes.ServeHTTP(w, r)
			return
		}
		server.ServeHTTP(w, r)
	})
}

// client is who asks: as X-Forwarded-For says, if a proxy of TRUSTED_PROXY_CIDRS says it. What is no network there is
// passed over in silence.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	remote, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	for trusted := range strings.SplitSeq(os.Getenv("TRUSTED_PROXY_CIDRS"), ",") {
		network, err := netip.ParsePrefix(strings.TrimSpace(trusted))
		if err != nil || !network.Contains(remote.Unmap()) {
			continue
		}
		first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
		return strings.TrimSpace(first)
	}
	return host
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
