import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditEnvironment } from "../../cli/adopt/audit.ts";
import { auditFindings, nodeFindings } from "../../cli/adopt/findings.ts";
import { ForeignHost } from "../../cli/adopt/host.ts";
import { lookAtNode } from "../../cli/adopt/look.ts";
import type { NodeNames } from "../../cli/adopt/node.ts";
import { stackSettingsSchema } from "../../config/stack-settings.ts";
import { docker, eventually, Harness } from "../../ops/testing/harness.ts";
import { freePort } from "./stack.ts";

const id = `togather-test-adopt-${randomBytes(4).toString("hex")}`;
const canary = `c4n4ry${randomBytes(8).toString("hex")}`;
const directory = mkdtempSync(join(tmpdir(), "togather-adopt-"));
const names: NodeNames = {
  database: `${id}-db`,
  slots: { blue: `${id}-server-blue`, green: `${id}-server-green` },
  environmentFile: join(directory, "env"),
  caddyfile: join(directory, "Caddyfile"),
};
const settings = stackSettingsSchema.parse({ environment: "production" });
const host = new ForeignHost("");
let [databasePort, bluePort, greenPort] = [0, 0, 0];
const sql = (statement: string): Promise<string> => docker("exec", names.database, "psql", "-X", "-v", "ON_ERROR_STOP=1", "-U", "togather", "-d", "togather", "-c", statement);

beforeAll(async () => {
  const image = await new Harness().image("postgres");
  [databasePort, bluePort, greenPort] = [await freePort(), await freePort(), await freePort()];
  await docker("run", "--detach", `--name=${names.database}`, "--env=POSTGRES_USER=togather", "--env=POSTGRES_DB=togather", `--env=POSTGRES_PASSWORD=${canary}`, `--publish=127.0.0.1:${databasePort}:5432`, image);
  await docker("create", `--name=${names.slots.blue}`, `--publish=127.0.0.1:${bluePort}:8080`, image);
  await docker("create", `--name=${names.slots.green}`, `--publish=127.0.0.1:${greenPort}:8080`, image);
  // As deploy.sh's own: what it reads is a link to the file.
  writeFileSync(join(directory, "real"), `JWT_SECRET=${canary}\nRATE_LIMIT_PUBLIC=60\n`, { mode: 0o600 });
  symlinkSync(join(directory, "real"), names.environmentFile);
  writeFileSync(names.caddyfile, `http://localhost {\n  # reverse_proxy localhost:${bluePort}\n  reverse_proxy localhost:${greenPort}\n}\n`);
  await eventually("the database", () => sql("SELECT 1"));
  await sql("CREATE EXTENSION pg_trgm; CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (49, false); CREATE TABLE events (id int)");
});

afterAll(async () => {
  await docker("rm", "--force", "--volumes", names.database, names.slots.blue, names.slots.green);
  rmSync(directory, { recursive: true });
});

describe("a node with the parts of one that deploy.sh made", () => {
  it("is looked at, without a secret in what comes of it", async () => {
    const { environmentFile, ...node } = await lookAtNode(host, names);
    expect(node).toMatchObject({
      databaseState: "running",
      database: { database: "togather", role: "togather", superuser: true, owners: ["togather"], extensions: ["pg_trgm"], tables: 2, schema: { version: 49, dirty: false } },
      slots: { blue: { state: "created", port: bluePort }, green: { state: "created", port: greenPort } },
      serving: "green",
    });
    expect(node.listening).toContain(databasePort);
    expect(node.listening).not.toContain(bluePort);
    expect(environmentFile).toContain(canary);
    const findings = [
      ...nodeFindings({ ...node, environmentFile }, { ...settings, databasePort, slotPorts: { blue: greenPort, green: settings.slotPorts.green } }),
      ...auditFindings(auditEnvironment(environmentFile ?? "", { template: undefined, read: undefined, source: settings.source }), names.environmentFile, undefined),
    ];
    expect(JSON.stringify([node, findings])).not.toContain(canary);
    const failed = findings.filter(({ status }) => status === "fail").map(({ check }) => check);
    expect(failed).toContain("togather:databasePort");
    expect(failed).toContain("togather:slotPorts.blue");
    expect(findings.find(({ check }) => check === "secrets")?.found).toContain("JWT_SECRET:");
  });

  it("is only read: a statement that writes is refused", async () => {
    await expect(host.query(names.database, "CREATE TABLE mark (id int)")).rejects.toThrow(/read-only transaction/);
  });

  it("is told apart from one whose files or containers are elsewhere", async () => {
    const elsewhere = await lookAtNode(host, { ...names, environmentFile: join(directory, "none"), caddyfile: join(directory, "none") });
    expect(elsewhere).toMatchObject({ environmentFile: undefined, hasCaddyfile: false, serving: undefined });
    await expect(lookAtNode(host, { ...names, database: `${id}-none` })).rejects.toThrow(`no container ${id}-none`);
  });

  it("is seen with a database that is stopped", async () => {
    await docker("stop", names.database);
    const stopped = await lookAtNode(host, names);
    expect(stopped).toMatchObject({ databaseState: "exited", database: undefined });
    expect(nodeFindings(stopped, settings).find(({ check }) => check === "database")).toMatchObject({ status: "fail", fix: `docker start ${names.database}` });
  });
});
