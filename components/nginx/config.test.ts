import { describe, expect, it } from "vitest";
import { renderNginxFiles, type NginxOptions } from "./config.ts";

const slots = { blue: "10.213.3.10:8080", green: "10.213.3.11:8080" };

function render(options: Partial<NginxOptions> = {}): string {
  return renderNginxFiles({ slots, tls: false, ...options })["nginx.conf"] ?? "";
}

/** Directives without comments, one on each line, as nginx reads them. */
function directives(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

describe("renderNginxFiles", () => {
  it("declares both slots, each once, whatever is in them", () => {
    const lines = directives(render());
    expect(lines.filter((line) => line.startsWith("server 10."))).toEqual([
      "server 10.213.3.10:8080 max_fails=0;",
      "server 10.213.3.11:8080 max_fails=0;",
    ]);
    expect(lines).toContain("upstream blue {");
    expect(lines).toContain("upstream green {");
  });

  it("leaves no placeholder or section mark, with all options and with none", () => {
    for (const text of [
      render(),
      render({ tls: true, redirectToHttpsPort: 443, rateLimit: { requestsPerSecond: 5, burst: 10 } }),
    ]) {
      expect(text).not.toMatch(/\{\{|\}\}/);
      expect(text.split("{").length).toBe(text.split("}").length);
    }
  });

  it("has limits of bodies and of silence, by option", () => {
    const usual = directives(render());
    expect(usual).toEqual(
      expect.arrayContaining(["client_max_body_size 32m;", "client_body_timeout 30s;", "proxy_read_timeout 120s;"]),
    );
    const own = directives(render({ maxBodyMegabytes: 102_400, bodySeconds: 60, readSeconds: 3600 }));
    expect(own).toEqual(
      expect.arrayContaining([
        "client_max_body_size 102400m;",
        "client_body_timeout 60s;",
        "proxy_read_timeout 3600s;",
      ]),
    );
  });

  it("never sends a request twice", () => {
    expect(directives(render()).filter((line) => line.startsWith("proxy_next_upstream"))).toEqual([
      "proxy_next_upstream off;",
    ]);
  });

  it("says nothing of TLS without TLS", () => {
    expect(
      directives(render()).filter(
        (line) => /ssl|tls|hsts|8443|Strict/i.test(line) && !/^proxy_set_header \S+ "";$/.test(line),
      ),
    ).toEqual([]);
  });

  it("serves HTTPS with TLS 1.2 at least, and promises it to browsers", () => {
    const lines = directives(render({ tls: true }));
    expect(lines).toContain("listen 8443 ssl backlog=4096;");
    expect(lines).toContain("ssl_protocols TLSv1.2 TLSv1.3;");
    expect(lines).toContain("add_header Strict-Transport-Security $togather_hsts always;");
    expect(lines.some((line) => line.startsWith("return 308"))).toBe(false);
  });

  it("redirects to the public HTTPS port, which is left out where it is the usual one", () => {
    expect(render({ tls: true, redirectToHttpsPort: 443 })).toContain("return 308 https://$host$request_uri;");
    expect(render({ tls: true, redirectToHttpsPort: 8443 })).toContain("return 308 https://$host:8443$request_uri;");
    expect(() => render({ redirectToHttpsPort: 443 })).toThrow("needs tls");
  });

  it("redirects by a server of its own, which knows nothing of slots", () => {
    const text = render({ tls: true, redirectToHttpsPort: 443 });
    const servers = text.split(/^ {2}server \{$/m).slice(1);
    expect(
      servers
        .filter((server) => server.includes("listen 8080"))
        .map((server) => [...new Set(directives(server).filter((line) => /return 308|slot|access_log/.test(line)))]),
    ).toEqual([["access_log /dev/stdout json_router buffer=4k flush=1s;", "return 308 https://$host$request_uri;"]]);
    expect(directives(render({ tls: true })).filter((line) => line.startsWith("listen 8"))).toEqual([
      "listen 8080 backlog=4096;",
      "listen 8443 ssl backlog=4096;",
    ]);
  });

  describe("behind proxies", () => {
    const proxies = {
      trusted: ["192.0.2.10", "2001:db8::/32", "192.0.2.10"],
      proxyProtocol: false,
      publicHttpsPort: 443,
    };
    const about = /real_ip|realip|trusted|proxy_protocol|9080|^map "\$server_port/;

    it("says nothing of them where there are none", () => {
      for (const options of [{}, { tls: true }, { tls: true, redirectToHttpsPort: 443 }])
        expect(
          directives(render(options)).filter((line) => about.test(line) || /togather_scheme|to_https/.test(line)),
        ).toEqual([]);
    });

    it("believes these, each once, about address and scheme", () => {
      const text = render({ tls: true, redirectToHttpsPort: 443, proxies });
      expect(directives(text).filter((line) => about.test(line))).toEqual([
        "set_real_ip_from 192.0.2.10;",
        "set_real_ip_from 2001:db8::/32;",
        "real_ip_header X-Forwarded-For;",
        "real_ip_recursive on;",
        "geo $realip_remote_addr $togather_trusted {",
        'map "$server_port:$togather_trusted:$http_x_forwarded_proto" $togather_scheme {',
        '"~^9080:" https;',
        "listen 9080;",
      ]);
      expect(directives(text)).toEqual(
        expect.arrayContaining([
          "192.0.2.10 1;",
          "2001:db8::/32 1;",
          "proxy_set_header X-Forwarded-Proto $togather_scheme;",
          "return 308 https://$host$request_uri;",
        ]),
      );
      expect(text).not.toMatch(/\{\{|\}\}/);
      expect(text.split("{").length).toBe(text.split("}").length);
      // One server answers both, since it depends on the request.
      expect(directives(text).filter((line) => line.startsWith("listen 80"))).toEqual(["listen 8080 backlog=4096;"]);
    });

    it("takes no header of a visitor's for a balancer's that speaks the PROXY protocol", () => {
      const text = render({ tls: true, proxies: { ...proxies, proxyProtocol: true, publicHttpsPort: 8443 } });
      expect(directives(text)).toEqual(
        expect.arrayContaining([
          "listen 8080 proxy_protocol backlog=4096;",
          "listen 8443 ssl proxy_protocol backlog=4096;",
          "listen 9080;",
          "real_ip_header proxy_protocol;",
          '"~^\\d+:1::8443$" https;',
        ]),
      );
      expect(text).not.toMatch(/http_x_forwarded/);
    });

    it.each(["example.org", "192.0.2.0/0", "192.0.2.1/33", "::/0", "::ffff:192.0.2.1", "192.0.2.1; x", ""])(
      "refuses %j",
      (one) => {
        expect(() => render({ proxies: { ...proxies, trusted: [one] } })).toThrow("proxies.trusted must be addresses");
      },
    );
  });

  it("keeps idle connections to slots for less than the usual servers do", () => {
    expect(directives(render()).filter((line) => line.startsWith("keepalive_timeout"))).toEqual([
      "keepalive_timeout 4s;",
      "keepalive_timeout 4s;",
      "keepalive_timeout 75s;",
    ]);
    expect(directives(render({ idleSeconds: 60 })).filter((line) => line === "keepalive_timeout 60s;")).toHaveLength(2);
  });

  it("closes paths, with what is below them, by itself", () => {
    expect(render()).not.toContain("closed to the public");
    expect(directives(render({ closedPaths: ["/metrics", "/debug/pprof", "/a.b"] }))).toContain(
      'location ~ "^(/metrics|/debug/pprof|/a\\.b)(/|$)" {',
    );
    for (const path of ["/", "metrics", "/metrics/", "/a b", '/"', "/(a)", "/a;", "/..", "/$host"])
      expect(() => render({ closedPaths: [path] })).toThrow("closedPaths must be paths");
  });

  it("limits rates only when told to, and never on the control socket", () => {
    expect(render()).not.toContain("limit_req");
    const limited = render({ rateLimit: { requestsPerSecond: 20, burst: 40 } });
    expect(limited).toContain("rate=20r/s;");
    expect(limited.slice(limited.indexOf("location / {"))).toContain("limit_req zone=requests burst=40 nodelay;");
    expect(
      directives(limited.slice(0, limited.indexOf("location / {"))).some((line) => line.startsWith("limit_req ")),
    ).toBe(false);
  });

  it("hands control out on the unix socket alone", () => {
    const text = render({ tls: true });
    const publicServer = text.slice(text.indexOf("listen 8080"), text.indexOf("listen 9145"));
    // Its only public function is to turn a signed token into a cookie.
    expect(directives(publicServer).filter((line) => line.startsWith("js_content"))).toEqual([
      "js_content router.enterPreview;",
      "js_content router.unavailable;",
    ]);
    // Clients in the private network may read metrics, and nothing else.
    expect(
      directives(text.slice(text.indexOf("listen 9145"), text.indexOf("listen unix:"))).filter((line) =>
        line.startsWith("js_content"),
      ),
    ).toEqual(["js_content router.metrics;"]);
    expect(directives(text).filter((line) => line.startsWith("listen "))).toEqual([
      "listen 8080 backlog=4096;",
      "listen 8443 ssl backlog=4096;",
      "listen 9145;",
      "listen unix:/router/run/control.sock;",
    ]);
  });

  it.each([
    "app-blue:8080",
    "10.213.3.10",
    "10.213.3.10:0",
    "10.213.3.10:99999",
    "10.213.3.10:8080;",
    "[::1]:8080",
    "",
  ])("refuses %j as a slot's address", (address) => {
    expect(() => render({ slots: { ...slots, blue: address } })).toThrow("blue must be an IPv4 address and a port");
  });

  it.each([0, 1.5, -1, Number.NaN])("refuses %d seconds", (seconds) => {
    expect(() => render({ drainSeconds: seconds })).toThrow("drainSeconds must be a whole number");
  });
});
