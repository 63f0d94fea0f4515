import { describe, expect, it } from "vitest";
import { stackSettingsSchema } from "../../config/schema/stack-settings.ts";
import { nodeFindings } from "./findings.ts";
import { choose, publicNames } from "./certificate.ts";
import { listenerIn, portsIn } from "./host.ts";
import { sitesOf, upstreamPorts, type Node } from "./look.ts";
import { deployShNode } from "./node.ts";
import { portsBeside } from "./ports.ts";

const settings = stackSettingsSchema.parse({ environment: "production", tls: { certificateFile: "a", keyFile: "b" } });
const node: Node = {
  names: deployShNode("production"),
  databaseState: "running",
  database: {
    version: "16.4",
    versionNumber: 160_004,
    database: "togather",
    role: "togather",
    superuser: true,
    owners: ["togather"],
    extensions: ["pg_trgm", "postgis", "vector"],
    tables: 40,
    bytes: 1e8,
    migrations: true,
    schema: { version: 49, dirty: false },
  },
  slots: {
    blue: { state: "running", port: 8081, restart: "unless-stopped" },
    green: { state: "running", port: 8082, restart: "unless-stopped" },
  },
  databaseImage: "sha256:1",
  databaseNetworks: { "togather-network": "172.18.0.2" },
  sites: ["events.example.org"],
  serving: "green",
  environmentFile: "A=1",
  hasCaddyfile: true,
  listening: new Set([80, 443, 8081, 8082, 5433]),
};
const failed = (one: Partial<Node>, more: Partial<typeof settings> = {}): string[] =>
  nodeFindings({ ...node, ...one }, { ...settings, ...more })
    .filter(({ status }) => status === "fail")
    .map(({ check }) => check);

describe("a node that deploy.sh made", () => {
  it("is no obstacle with the ports that both want: the stack gets others, no port twice", () => {
    expect(failed({})).toEqual([]);
    expect(portsBeside(settings, node)).toEqual({
      ports: { http: 8880, https: 8843 },
      slotPorts: { blue: 8080, green: 18_081 },
      databasePort: 15_432,
    });
    expect(
      portsBeside({ ...settings, databasePort: 8880 }, { ...node, listening: new Set([80, 443, 8843]) }),
    ).toMatchObject({ ports: { http: 8880, https: 8844 }, databasePort: 15_433 });
  });

  it("keeps the ports of a slot that is stopped now", () => {
    const stopped = {
      ...node,
      slots: { blue: { state: "exited", port: 8081, restart: "no" }, green: undefined },
      listening: new Set<number>(),
    };
    expect(portsBeside(settings, stopped)).toMatchObject({
      ports: settings.ports,
      slotPorts: { blue: 8080, green: 18_081 },
    });
  });

  it("has the sites that Caddy's file names outside of options and snippets", () => {
    const file =
      "{\n  email a@example.org\n}\n(common) {\n  header -Server\n}\nevents.example.org, https://www.example.org:8443 {\n  handle /x {\n    reverse_proxy localhost:8081 {\n      header_up Host {host}\n    }\n  }\n}\n# old.example.org {\n:8080 {\n}\nother.example.org {\n}\n";
    expect(sitesOf(file)).toEqual(["events.example.org", "www.example.org", "other.example.org"]);
  });

  it("has the process that the kernel says listens, with its unit", () => {
    const v2 = "pid 69\nprogram caddy\ncgroup 0::/system.slice/caddy.service\n";
    const v1 =
      "pid 69\nprogram caddy\ncgroup 9:name=systemd:/docker/73cecf\ncgroup 0::/docker/73cecf/system.slice/caddy.service\n";
    expect([v2, v1].map(listenerIn)).toEqual(Array(2).fill({ pid: 69, program: "caddy", unit: "caddy.service" }));
    expect(listenerIn("pid 7\nprogram nginx\ncgroup 0::/user.slice/user-1000.slice/session-3.scope\n")).toEqual({
      pid: 7,
      program: "nginx",
      unit: undefined,
    });
    expect(listenerIn("")).toBeUndefined();
  });

  it("has the container of a process that listens on the host's own network", () => {
    const [id, outer] = ["5c".repeat(32), "0a".repeat(32)];
    for (const cgroup of [
      `0::/system.slice/docker-${id}.scope`,
      `0::/../docker-${id}.scope`,
      `12:cpu:/docker/${id}\ncgroup 0::/docker/${id}`,
      `0::/docker/${outer}/docker/${id}`,
    ])
      expect(listenerIn(`pid 9\nprogram caddy\ncgroup ${cgroup}\n`)).toEqual({
        pid: 9,
        program: "caddy",
        unit: undefined,
        container: id,
      });
  });

  it("has a certificate by its public name", () => {
    const paths = ["acme/a.example.org/a.example.org.crt", "acme/b.example.org/b.example.org.crt"];
    expect(
      publicNames({ PUBLIC_URL: "b.example.org", SERVER_BASE_URL: "https://b.example.org:443/x" }, ["a.example.org"]),
    ).toEqual(["b.example.org", "a.example.org"]);
    expect(choose(paths, ["b.example.org", "a.example.org"])).toBe(paths[1]);
    expect(choose(paths, ["c.example.org"])).toBeUndefined();
    expect(choose(paths.slice(0, 1), [])).toBe(paths[0]);
  });

  it("is refused with a database that can't be taken over", () => {
    const ports = { ports: { http: 8880, https: 8843 }, slotPorts: { blue: 18080, green: 18081 } };
    const database = node.database ?? expect.fail();
    expect(failed({ database: undefined, databaseState: "exited" }, ports)).toEqual(["database"]);
    expect(failed({ database: { ...database, versionNumber: 180_001 } }, ports)).toEqual(["database"]);
    expect(failed({ database: { ...database, versionNumber: 130_001 } }, ports)).toEqual(["database"]);
    expect(failed({ database: { ...database, schema: { version: 49, dirty: true } } }, ports)).toEqual([
      "schema version",
    ]);
    expect(failed({ environmentFile: undefined }, ports)).toEqual(["environment file"]);
  });

  it("serves the slot that Caddy's file names outside of comments", () => {
    expect(
      upstreamPorts(
        "example.org {\n  # reverse_proxy localhost:8081\n  reverse_proxy localhost:8082 {\n    health_uri /health\n  }\n}\n",
      ),
    ).toEqual([8082]);
    expect(upstreamPorts("reverse_proxy 127.0.0.1:8081 # was localhost:8082")).toEqual([8081]);
  });

  it("has the ports on which the kernel says that something listens", () => {
    const table = [
      "  sl  local_address rem_address   st",
      "   0: 00000000:0050 00000000:0000 0A 00000000:00000000",
      "   1: 0100007F:1F91 0100007F:0050 01 00000000:00000000",
      "  12: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0",
    ].join("\n");
    expect(portsIn(table)).toEqual([80, 443]);
  });
});
