import { describe, expect, it } from "vitest";
import { primaryUrl, publicUrl } from "./public-url.ts";

const ports = { http: 80, https: 8443 };

describe("the public URL", () => {
  it.each([
    ["", "0.0.0.0", "http://localhost"],
    ["", "10.1.2.3", "http://10.1.2.3"],
    ["", "2001:db8::1", "http://[2001:db8::1]"],
    ["ssh://deploy@events.example.org:2222", "0.0.0.0", "http://events.example.org"],
    ["tcp://10.0.0.5:2376", "::", "http://10.0.0.5"],
    ["ssh://deploy@events.example.org", "127.0.0.1", "http://localhost"],
    ["unix:///run/user/1000/docker.sock", "0.0.0.0", "http://localhost"],
    ["ssh://deploy@events.example.org", "0.0.0.0, ::", "http://events.example.org"],
    ["", "127.0.0.1, ::1", "http://localhost"],
  ])("of a router behind %j that listens on %s is %s", (host, listenAddress, url) => {
    expect(publicUrl({ host, listenAddress, ports, publicUrl: "" }, "http")).toBe(url);
  });

  it("has the port where it is not the scheme's own", () => {
    expect(publicUrl({ host: "", listenAddress: "0.0.0.0", ports, publicUrl: "" }, "https")).toBe(
      "https://localhost:8443",
    );
  });

  it("is what it is set to, whatever is in front of the router", () => {
    const told = { host: "", listenAddress: "127.0.0.1", ports, publicUrl: "https://Events.example.org/" };
    expect([publicUrl(told, "https"), publicUrl(told, "http"), primaryUrl(told)]).toEqual([
      "https://events.example.org",
      "http://events.example.org",
      "https://events.example.org",
    ]);
    expect(primaryUrl({ ...told, publicUrl: "" })).toBe("http://localhost");
    expect(primaryUrl({ ...told, publicUrl: "", tls: {} })).toBe("https://localhost:8443");
  });
});
