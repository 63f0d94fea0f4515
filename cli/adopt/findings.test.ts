import { describe, expect, it } from "vitest";
import { stackSettingsSchema } from "../../config/stack-settings.ts";
import { nodeFindings } from "./findings.ts";
import { portsIn } from "./host.ts";
import { upstreamPorts, type Node } from "./look.ts";
import { deployShNode } from "./node.ts";

const settings = stackSettingsSchema.parse({ environment: "production", tls: { certificateFile: "a", keyFile: "b" } });
const node: Node = {
  names: deployShNode("production"),
  databaseState: "running",
  database: { version: "16.4", versionNumber: 160_004, database: "togather", role: "togather", superuser: true, owners: ["togather"], extensions: ["pg_trgm", "postgis", "vector"], tables: 40, bytes: 1e8, migrations: true, schema: { version: 49, dirty: false } },
  slots: { blue: { state: "running", port: 8081 }, green: { state: "running", port: 8082 } },
  serving: "green",
  environmentFile: "A=1",
  hasCaddyfile: true,
  listening: new Set([80, 443, 8081, 8082, 5433]),
};
const failed = (one: Partial<Node>, more: Partial<typeof settings> = {}): string[] => nodeFindings({ ...node, ...one }, { ...settings, ...more }).filter(({ status }) => status === "fail").map(({ check }) => check);

describe("a node that deploy.sh made", () => {
  it("is in the way with the ports that both have, until the stack has others", () => {
    expect(failed({})).toEqual(["togather:ports.http", "togather:ports.https", "togather:slotPorts.green"]);
    expect(failed({}, { ports: { http: 8880, https: 8843 }, slotPorts: { blue: 18080, green: 18081 } })).toEqual([]);
  });

  it("keeps the ports of a slot that is stopped now", () => {
    const stopped = { slots: { blue: { state: "exited", port: 8081 }, green: undefined }, listening: new Set<number>() };
    expect(failed(stopped)).toEqual(["togather:slotPorts.green"]);
  });

  it("is refused with a database that can't be taken over", () => {
    const ports = { ports: { http: 8880, https: 8843 }, slotPorts: { blue: 18080, green: 18081 } };
    const database = node.database ?? expect.fail();
    expect(failed({ database: undefined, databaseState: "exited" }, ports)).toEqual(["database"]);
    expect(failed({ database: { ...database, versionNumber: 180_001 } }, ports)).toEqual(["database"]);
    expect(failed({ database: { ...database, versionNumber: 130_001 } }, ports)).toEqual(["database"]);
    expect(failed({ database: { ...database, schema: { version: 49, dirty: true } } }, ports)).toEqual(["schema version"]);
    expect(failed({ environmentFile: undefined }, ports)).toEqual(["environment file"]);
  });

  it("serves the slot that Caddy's file names outside of comments", () => {
    expect(upstreamPorts("example.org {\n  # reverse_proxy localhost:8081\n  reverse_proxy localhost:8082 {\n    health_uri /health\n  }\n}\n")).toEqual([8082]);
    expect(upstreamPorts("reverse_proxy 127.0.0.1:8081 # was localhost:8082")).toEqual([8081]);
  });

  it("has the ports on which the kernel says that something listens", () => {
    const table = ["  sl  local_address rem_address   st", "   0: 00000000:0050 00000000:0000 0A 00000000:00000000", "   1: 0100007F:1F91 0100007F:0050 01 00000000:00000000", "  12: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0"].join("\n");
    expect(portsIn(table)).toEqual([80, 443]);
  });
});
