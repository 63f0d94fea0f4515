import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "dotenv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { auditEnvironment } from "../../cli/adopt/audit.ts";
import { auditFindings, nodeFindings } from "../../cli/adopt/findings.ts";
import { ForeignHost } from "../../cli/adopt/host.ts";
import { lookAtNode } from "../../cli/adopt/look.ts";
import type { NodeNames } from "../../cli/adopt/node.ts";
import { stackSettingsSchema } from "../../config/schema/stack-settings.ts";
import { docker, eventually, Harness } from "../step-harness.ts";
import { freePort } from "./addresses.ts";
import { OldNode } from "./old-node.ts";
import { TestStack } from "./stack.ts";

const id = `togather-test-adopt-${randomBytes(4).toString("hex")}`;
const canary = `c4n4ry${randomBytes(8).toString("hex")}`;
const directory = mkdtempSync(join(tmpdir(), "togather-adopt-"));
const names: NodeNames = {
  database: `${id}-db`,
  slots: { blue: `${id}-server-blue`, green: `${id}-server-green` },
  environmentFile: join(directory, "env"),
  caddyfile: join(directory, "Caddyfile"),
  caddyData: join(directory, "caddy"),
};
const settings = stackSettingsSchema.parse({ environment: "production" });
const host = new ForeignHost("");
let [databasePort, bluePort, greenPort] = [0, 0, 0];
const sql = (statement: string): Promise<string> =>
  docker(
    "exec",
    names.database,
    "psql",
    "-X",
    "-v",
    "ON_ERROR_STOP=1",
    "-U",
    "togather",
    "-d",
    "togather",
    "-c",
    statement,
  );

beforeAll(async () => {
  const image = await new Harness().image("postgres");
  [databasePort, bluePort, greenPort] = [await freePort(), await freePort(), await freePort()];
  await docker(
    "run",
    "--detach",
    `--name=${names.database}`,
    "--env=POSTGRES_USER=togather",
    "--env=POSTGRES_DB=togather",
    `--env=POSTGRES_PASSWORD=${canary}`,
    `--publish=127.0.0.1:${databasePort}:5432`,
    image,
  );
  await docker("create", `--name=${names.slots.blue}`, `--publish=127.0.0.1:${bluePort}:8080`, image);
  await docker("create", `--name=${names.slots.green}`, `--publish=127.0.0.1:${greenPort}:8080`, image);
  // As for deploy.sh: its environment file is a link.
  writeFileSync(join(directory, "real"), `JWT_SECRET=${canary}\nRATE_LIMIT_PUBLIC=60\n`, { mode: 0o600 });
  symlinkSync(join(directory, "real"), names.environmentFile);
  writeFileSync(
    names.caddyfile,
    `http://localhost {\n  # reverse_proxy localhost:${bluePort}\n  reverse_proxy localhost:${greenPort}\n}\n`,
  );
  await eventually("the database", () => sql("SELECT 1"));
  await sql(
    "CREATE EXTENSION pg_trgm; CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (49, false); CREATE TABLE events (id int)",
  );
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
      database: {
        database: "togather",
        role: "togather",
        superuser: true,
        owners: ["togather"],
        extensions: ["pg_trgm"],
        tables: 2,
        schema: { version: 49, dirty: false },
      },
      slots: { blue: { state: "created", port: bluePort }, green: { state: "created", port: greenPort } },
      serving: "green",
    });
    expect(node.listening).toContain(databasePort);
    expect(node.listening).not.toContain(bluePort);
    expect(environmentFile).toContain(canary);
    const findings = [
      ...nodeFindings(
        { ...node, environmentFile },
        { ...settings, databasePort, slotPorts: { blue: greenPort, green: settings.slotPorts.green } },
      ),
      ...auditFindings(
        auditEnvironment(environmentFile ?? "", { template: undefined, read: undefined, source: settings.source }),
        names.environmentFile,
        undefined,
      ),
    ];
    expect(JSON.stringify([node, findings])).not.toContain(canary);
    const failed = findings.filter(({ status }) => status === "fail").map(({ check }) => check);
    expect(failed).toEqual([]);
    expect(findings.find(({ check }) => check === "togather:databasePort")?.found).toContain(
      `${databasePort}: something listens on it; `,
    );
    expect(findings.find(({ check }) => check === "togather:slotPorts.blue")?.found).toContain(
      `${greenPort}: ${names.slots.green} has it; `,
    );
    expect(findings.find(({ check }) => check === "secrets")?.found).toContain("JWT_SECRET:");
  });

  it("is only read: a statement that writes is refused", async () => {
    await expect(host.query(names.database, "CREATE TABLE mark (id int)")).rejects.toThrow(/read-only transaction/);
  });

  it("is told apart from one whose files or containers are elsewhere", async () => {
    const elsewhere = await lookAtNode(host, {
      ...names,
      environmentFile: join(directory, "none"),
      caddyfile: join(directory, "none"),
    });
    expect(elsewhere).toMatchObject({ environmentFile: undefined, hasCaddyfile: false, serving: undefined });
    await expect(lookAtNode(host, { ...names, database: `${id}-none` })).rejects.toThrow(`no container ${id}-none`);
  });

  it("is seen with a database that is stopped", async () => {
    await docker("stop", names.database);
    const stopped = await lookAtNode(host, names);
    expect(stopped).toMatchObject({ databaseState: "exited", database: undefined });
    expect(nodeFindings(stopped, settings).find(({ check }) => check === "database")).toMatchObject({
      status: "fail",
      fix: `docker start ${names.database}`,
    });
  });
});

describe("adopting a node", () => {
  const node = new OldNode();
  const harness = new Harness();
  let stack: TestStack;
  let printed = "";
  const stackFile = (): string => readFileSync(join(stack.directory, `Pulumi.${stack.name}.yaml`), "utf8");
  const events = "SELECT count(*) FROM events";
  async function togather(...args: string[]): Promise<{ code: number | undefined; said: string }> {
    const { code, stdout, stderr } = await stack.togather(...args);
    const said = `${stdout}\n${stderr}`;
    printed += said;
    return { code, said };
  }

  beforeAll(async () => {
    stack = await TestStack.create();
    // The server's own file would give the secrets away that are to be taken over; PostgreSQL from npm has no PostGIS and no pgvector.
    rmSync(join(stack.directory, ".env.test"));
    stack.edit(
      "migrations/000001_places.up.sql",
      "CREATE EXTENSION IF NOT EXISTS postgis;\nCREATE EXTENSION IF NOT EXISTS vector;\n",
      "",
    );
    stack.edit("migrations/000001_places.up.sql", "geography (point, 4326)", "text");
    stack.edit(
      "migrations/000001_places.up.sql",
      "CREATE INDEX places_location_idx ON places USING gist (location);\n",
      "",
    );
    stack.edit("migrations/000002_events.up.sql", "embedding vector (384)", "embedding text");
    writeFileSync(
      join(stack.directory, "migrations/000004_events_embedding_index.up.sql"),
      "CREATE INDEX CONCURRENTLY events_embedding_idx ON events (embedding);\n",
    );
    const { commit } = await stack.commitTagged("v1.0.0");
    // Its parts have other names here, and systemd runs in a container.
    const { database, slots, environmentFile, caddyfile, caddyData } = node.names;
    stack.edit("cli/adopt/node.ts", '"togather-db"', JSON.stringify(database));
    stack.edit("cli/adopt/node.ts", '"togather-server-blue"', JSON.stringify(slots.blue));
    stack.edit("cli/adopt/node.ts", '"togather-server-green"', JSON.stringify(slots.green));
    stack.edit("cli/adopt/node.ts", "`/opt/togather/.env.${environment}`", JSON.stringify(environmentFile));
    stack.edit("cli/adopt/node.ts", '"/etc/caddy/Caddyfile"', JSON.stringify(caddyfile));
    stack.edit("cli/adopt/node.ts", '"/var/lib/caddy/.local/share/caddy"', JSON.stringify(caddyData));
    stack.edit("cli/adopt/node.ts", "(environment: EnvironmentName)", "(_environment: EnvironmentName)");
    stack.edit("cli/adopt/host.ts", 'pid = "host"', `pid = "container:${node.machine}"`);
    stack.set({ environment: "production" });
    await harness.image("ops");
    const built = await harness.run("build", {
      source: { kind: "commit", repository: stack.directory, commit, paths: ["server", "migrations"] },
      dockerfile: "server/Dockerfile",
      tag: `togather-server:${commit}`,
      release: { version: "v1.0.0", commit },
    });
    expect(built.exitCode, built.stderr).toBe(0);
    await node.start(built.result.tag, join(stack.directory, "migrations"), stack.ports);
    await node.sql(
      "INSERT INTO events (name, starts_at, ends_at) SELECT 'e ' || n, now(), now() FROM generate_series(1, 2000) n",
    );
    stack.set({ slotPorts: { blue: stack.ports.blue, green: node.slotPort } });
  });
  afterAll(async () => {
    await node.remove();
    await stack.remove();
  });

  it("says what it would do, and does nothing before somebody has said yes", async () => {
    const before = stackFile();
    const dry = await togather("adopt", "--dry-run");
    expect(dry.code, dry.said).toBe(0);
    expect(dry.said).toContain(`${node.names.slots.green} has it`);
    expect(dry.said).toMatch(
      /1\. environment {2}into Pulumi\..*: SHUTDOWN_TIMEOUT; into \.env\.test: ADMIN_API_KEY, JWT_SECRET; into \.togather\/tls: Caddy's certificate\./,
    );
    expect(dry.said).toContain("read by nothing: METRICS_PORT, SECONDS_LEFT");
    expect(dry.said).toContain(`caddy.service of systemd is stopped`);
    const asked = await togather("adopt");
    expect(asked.code, asked.said).toBe(2);
    expect(asked.said).toContain("There is no terminal to ask on. Nothing was changed.");
    expect(stackFile()).toBe(before);
    expect(existsSync(join(stack.directory, ".env.test"))).toBe(false);
    expect(await stack.containers()).toEqual(new Map());
  });

  it("is given up before anything was deployed: the settings are taken out again", async () => {
    const clean = stackFile();
    // A setting with which no deployment is possible.
    stack.set({ jwtSecret: "in plain text" });
    const before = stackFile();
    const refused = await togather("adopt", "--yes");
    expect(refused.code, refused.said).toBe(2);
    expect(refused.said).toContain("is a secret in plain text");
    expect(refused.said).toContain(`The old node serves, untouched: ${node.names.slots.green} answers.`);
    expect(refused.said).not.toContain("Nothing serves");
    expect(stackFile()).toContain("SHUTDOWN_TIMEOUT");
    const undone = await togather("adopt", "--undo");
    expect(undone.code, undone.said).toBe(0);
    expect(stackFile()).toBe(before);
    expect(parse(readFileSync(join(stack.directory, ".env.test"), "utf8"))).toEqual({});
    expect(existsSync(join(stack.directory, ".togather/tls"))).toBe(true);
    expect(readdirSync(join(stack.directory, ".togather/tls"))).toEqual([]);
    writeFileSync(join(stack.directory, `Pulumi.${stack.name}.yaml`), clean);
  });

  it("is prepared beside it, while it serves", async () => {
    const { code, said } = await togather("adopt", "--prepare", "--yes");
    expect(code, said).toBe(0);
    expect(said).toMatch(/trial {8}\d+ rows in \d+ tables, as the old database has them/);
    expect(await node.get(stack.ports.https)).toMatchObject({ status: 200 });
    expect(await node.caddy()).toBe("active enabled");
    expect(await node.states()).toBe("running:unless-stopped running:always");
    // The stack that serves in the end has the old secrets; its database is still its own.
    expect(parse(readFileSync(join(stack.directory, ".env.test"), "utf8"))).toMatchObject(node.secrets);
    expect(statSync(join(stack.directory, ".env.test")).mode & 0o777).toBe(0o600);
    expect(stackFile()).toContain('SHUTDOWN_TIMEOUT: "25"');
    expect(await stack.query(events)).toBe("0");
    const undone = await togather("adopt", "--undo");
    expect(undone.code, undone.said).toBe(0);
    expect(undone.said).toContain("This stack's own containers are there, beside the old node");
  });

  it("goes back by itself when the takeover fails", async () => {
    // The old slot is stopped by then; the data can't be read.
    node.writeEnvironment("another password");
    const { code, said } = await togather("adopt", "--yes");
    expect(code, said).not.toBe(0);
    expect(said).toContain(
      `The old node serves again: ${node.names.slots.green} answers; caddy.service of systemd runs again.`,
    );
    node.writeEnvironment(node.password);
    expect(await eventually("the old node", async () => (await node.get(stack.ports.https)).status === 200)).toBe(true);
    expect(await node.caddy()).toBe("active enabled");
    expect(await node.states()).toBe("running:unless-stopped running:always");
  });

  it("goes back when it is told to, after a takeover that was killed", async () => {
    const run = stack.start("adopt", "--yes");
    await eventually("a stopped slot", async () => (await node.states()).endsWith("exited:no"));
    process.kill(-(run.pid ?? 0), "SIGKILL");
    await run;
    // Caddy has no server behind it.
    expect((await node.get(stack.ports.https)).status).toBeGreaterThanOrEqual(502);
    const undone = await togather("adopt", "--undo", "--yes");
    expect(undone.code, undone.said).toBe(0);
    expect(undone.said).toContain(
      `The old node serves again: ${node.names.slots.green} answers; caddy.service of systemd runs again.`,
    );
    await eventually("the old node", async () => (await node.get(stack.ports.https)).status === 200);
    expect(await node.states()).toBe("running:unless-stopped running:always");
  });

  it("takes over data, certificate and ports, and stops the old node without removing it", async () => {
    await node.sql("INSERT INTO events (name, starts_at, ends_at) VALUES ('after the trial', now(), now())");
    const old = await node.get(stack.ports.https);
    const { code, said } = await togather("adopt", "--yes");
    expect(code, said).toBe(0);
    expect(said).toMatch(/serves: \d+ rows, counted, from togather_.*; [\d.]+ s without service/);
    const now = await node.get(stack.ports.https);
    expect(now).toEqual({ ...old, slot: "blue" });
    expect(now.certificate).toContain("-----BEGIN CERTIFICATE-----");
    expect(await stack.query(events)).toBe("2001");
    expect(
      await stack.query(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys'",
      ),
    ).toBe("togather_owner");
    expect(
      await stack.query(
        "SELECT bool_and(has_table_privilege('togather_app', format('%I.%I', schemaname, tablename), 'INSERT')) FROM pg_tables WHERE tableowner = 'togather_owner'",
      ),
    ).toBe("t");
    expect(await stack.query("SELECT count(*) FROM pg_roles WHERE rolname = 'togather'")).toBe("0");
    expect(await node.caddy()).toBe("inactive disabled");
    expect(await node.states()).toBe("exited:unless-stopped exited:no");
    const status = JSON.parse((await stack.togather("status", "--json")).stdout) as { drift: unknown[] };
    expect(status.drift).toEqual([]);
    expect((await togather("up")).said).toContain("Nothing to do");
  });

  it("is over then: nothing of it is done twice, or undone", async () => {
    const again = await togather("adopt", "--yes");
    expect(again.code, again.said).toBe(0);
    expect(again.said).toContain("has adopted the node already");
    const undone = await togather("adopt", "--undo", "--yes");
    expect(undone.code, undone.said).toBe(2);
    expect(undone.said).toContain("what was written since");
    expect(await node.get(stack.ports.https)).toMatchObject({ status: 200, slot: "blue" });
  });

  it("has let no secret out", async () => {
    const state = await stack.state();
    const record = readFileSync(join(stack.directory, ".togather/adopt", `${stack.name}.json`), "utf8");
    for (const secret of [...Object.values(node.secrets), node.password.slice(0, 30)])
      for (const text of [printed, state, record, stackFile()]) expect(text).not.toContain(secret);
  });
});
