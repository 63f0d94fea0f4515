import { createHmac, randomBytes } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledImageTag } from "../../ops/image.ts";
import { certificatePair } from "../certificate-pair.ts";
import { startLoad } from "./load.ts";
import { TestStack } from "./stack.ts";

// One deployment lives through its life in order: each test starts from what the one before left. It is production, with
// HTTPS, its redirect and every check that production has by default: what a user types first. Its server has traits of those that
// somebody else writes, and all that they want is in the settings.
describe("a deployment of production", () => {
  let stack: TestStack;
  let v1: { version: string; commit: string };
  let v2: { version: string; commit: string };

  beforeAll(async () => {
    stack = await TestStack.create("production");
    // Like servers that add rows to PostGIS's table, which belongs to the extension.
    stack.addMigration("000005_spatial_reference", addReference(4326), "SELECT 1;");
    cpSync(join(import.meta.dirname, "../samples/traits/traits.go"), join(stack.directory, "server/traits.go"));
    stack.edit("server/main.go", "config.Load(os.Getenv)", "config.Load(environment)");
    stack.edit("server/main.go", "Handler:           api,", "Handler:           traits(api),");
    stack.edit(
      "server/Dockerfile",
      'RUN go build -ldflags "-s -w ',
      'ARG DOMAIN\nRUN go build -ldflags "-s -w -X main.domain=$DOMAIN ',
    );
    v1 = await stack.commit("v1.0.0");
    stack.moreSecrets = { CSRF_KEY: `canary${randomBytes(24).toString("hex")}` };
    stack.writeSecrets();
    stack.set({
      slots: { blue: v1 },
      activeSlot: "blue",
      publicUrl: `https://127.0.0.1:${stack.ports.https}`,
      database: { maxConnections: 150 },
      source: {
        buildArguments: { DOMAIN: "{publicHost}" },
        environment: {
          PUBLIC_URL: "{publicHost}",
          SERVER_BASE_URL: "{publicUrl}",
          TRUSTED_PROXY_CIDRS: "{routerAddress}/32",
          TOLD: "{slot} {version} {commit} \\{commit}",
          HOME: "/home/server",
        },
        secrets: ["CSRF_KEY"],
        secretLengths: { CSRF_KEY: 32 },
        unreadSecrets: ["ADMIN_API_KEY"],
        container: { shmSize: "128m", tmpSize: "96m", home: "/home/server" },
      },
    });
  });
  afterAll(async () => {
    await stack.remove();
  });

  const addReference = (srid: number): string =>
    `INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text) VALUES (${srid}, 'own', ${srid}, '', '') ON CONFLICT DO NOTHING;`;
  const health = () => stack.secureGet("/health");
  const startSecureLoad = () => startLoad(stack.ports.https, 4, 20, true);

  it("is previewed without touching anything", async () => {
    const preview = await stack.run("preview");
    expect(preview.output).toMatch(/blue-slot-container/);
    expect(preview.ok).toBe(true);
    expect(await stack.containers()).toEqual(new Map());
  });

  it("comes up from nothing", async () => {
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    const { slot, body } = await health();
    expect(slot).toBe("blue");
    expect(body).toMatchObject({
      status: "healthy",
      version: "v1.0.0",
      database: "connected",
      migrations: "up-to-date",
      jobs: "operational",
    });
    expect(await stack.output("activeSlot")).toBe("blue");
  });

  it("tells its server what only the deployment knows, and gives it what it wants and nothing that it doesn't read", async () => {
    const host = `127.0.0.1:${stack.ports.https}`;
    expect((await stack.secureGet("/traits/told")).body).toEqual({
      ...{
        domain: host,
        PUBLIC_URL: host,
        SERVER_BASE_URL: `https://${host}`,
        TRUSTED_PROXY_CIDRS: expect.stringMatching(/^10\.214\.\d+\.2\/32$/) as string,
      },
      ...{ TOLD: `blue v1.0.0 ${v1.commit} {commit}`, admin_key: false, csrf_key: 54 },
    });
    expect((await stack.secureGet("/traits/room")).body).toEqual({ "/tmp": 96, "/dev/shm": 128, home: "written" });
    expect(await stack.query("show max_connections")).toBe("150");
  });

  it("lets its server tell visitors apart, whatever they say of themselves", async () => {
    // Whoever asks from this machine is one, by whatever address, and spends what each has.
    const here = [];
    for (const claim of ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"])
      here.push(
        await stack.secureGet("/traits/client", {
          "X-Forwarded-For": claim,
          "X-Real-IP": claim,
          Forwarded: `for=${claim}`,
        }),
      );
    expect(here.map(({ status, body }) => [status, body["requests"]])).toEqual([
      [200, 1],
      [200, 2],
      [200, 3],
      [429, 4],
    ]);
    const subnet = String((await stack.secureGet("/traits/told")).body["TRUSTED_PROXY_CIDRS"]).replace(/\d+\/32$/, "");
    // Another one asks from a container.
    const script = `require("https").get({ host: "${subnet}2", port: 8443, path: "/traits/client", rejectUnauthorized: false }, async (response) => console.log(response.statusCode, (await response.toArray()).join("")))`;
    const { stdout } = await execa("docker", [
      "run",
      "--rm",
      `--network=togather-${stack.name}`,
      `--ip=${subnet}100`,
      "--entrypoint=node",
      bundledImageTag("ops"),
      "-e",
      script,
    ]);
    expect(stdout).toContain(`200 {"client":"${subnet}100","requests":1}`);
    // Nobody but the router is believed: not who asks the slot on the host's loopback.
    const direct = (await (
      await fetch(`http://127.0.0.1:${stack.ports.blue}/traits/client`, {
        headers: { "X-Forwarded-For": "203.0.113.9" },
      })
    ).json()) as Record<string, unknown>;
    expect(direct["client"]).not.toBe("203.0.113.9");
  });

  it("sends plain HTTP to HTTPS, in no slot's name", async () => {
    const plain = await fetch(stack.url("/health?a=b"), { redirect: "manual" });
    expect(plain.status).toBe(308);
    expect(plain.headers.get("location")).toBe(`https://127.0.0.1:${stack.ports.https}/health?a=b`);
    expect(plain.headers.get("x-togather-slot")).toBeNull();
  });

  it("has nothing to do the second time", async () => {
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(Object.keys(up.changes)).toEqual(["unchanged"]);
  });

  it("is looked at by a refresh, which changes nothing, nor does another spelling of the same commit", async () => {
    await stack.pulumi(["refresh", "--yes", "--skip-preview", "--stack", stack.name]);
    expect((await health()).slot).toBe("blue");
    stack.set({ slots: { blue: { ...v1, commit: v1.commit.slice(0, 9) } } });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(Object.keys(up.changes)).toEqual(["unchanged"]);
    stack.set({ slots: { blue: v1 } });
  });

  it("says in a preview what would interrupt traffic, and only then", async () => {
    expect((await stack.run("preview")).output).not.toMatch(/INTERRUPTS|RELOADS/);
    stack.set({ router: { maxBodySize: "64m" } });
    const reload = await stack.run("preview");
    expect(reload.output).toContain("RELOADS: the router's configuration changes");
    expect(reload.output).not.toContain("INTERRUPTS");
    stack.set({ router: {} });
    const { http, https } = stack.ports;
    stack.set({ ports: { http: http + 10_000, https }, database: { maxConnections: 151 } });
    const listening = (...ports: number[]): string =>
      ports
        .map((port) => `127.0.0.1:${port}`)
        .sort()
        .join(" and ");
    const what = `it listens on ${listening(http, https)}, and is to listen on ${listening(http + 10_000, https)}`;
    const { output } = await stack.run("preview");
    expect(output).toContain(`INTERRUPTS: the router's container is replaced (${what})`);
    expect(output).toContain(
      "INTERRUPTS: the database's container is replaced (max_connections is 150, and is to be 151)",
    );
    stack.set({ ports: { http, https }, database: { maxConnections: 150 } });
  });

  it("serves a renewed certificate by an up that reloads nothing, and says so before", async () => {
    const workers = (): Promise<string> =>
      execa("docker", [
        "exec",
        `togather-${stack.name}-router`,
        "bash",
        "-c",
        "grep -l '^nginx: worker' /proc/[0-9]*/cmdline",
      ]).then(({ stdout }) => stdout);
    const before = await workers();
    const { certificate, key } = await certificatePair({ name: "renewed.example.org" });
    writeFileSync(join(stack.directory, ".togather/tls/certificate.pem"), certificate);
    writeFileSync(join(stack.directory, ".togather/tls/key.pem"), key, { mode: 0o600 });
    const preview = await stack.run("preview");
    expect(preview.output).toContain("The router serves another certificate, to new connections and without a reload.");
    expect(preview.output).not.toMatch(/INTERRUPTS|RELOADS/);
    const load = startSecureLoad();
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    const { lost } = await load.stop();
    expect(lost).toEqual([]);
    const served = await new Promise<string>((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: stack.ports.https, rejectUnauthorized: false }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      }).on("error", reject);
    });
    expect([served, await workers()]).toEqual(["renewed.example.org", before]);
  });

  it("has left a snapshot, a state file and a log on the host", async () => {
    const backups = readdirSync(join(stack.directory, ".togather/backups"));
    expect(backups.filter((file) => /^togather_.*_\d{8}_\d{6}\.sql\.gz$/.test(file))).toHaveLength(1);
    expect(backups.filter((file) => file.endsWith(".partial"))).toEqual([]);
    const state = JSON.parse(readFileSync(String(await stack.output("stateFile")), "utf8")) as Record<string, unknown>;
    expect(state).toMatchObject({
      environment: "production",
      active_slot: "blue",
      version: "v1.0.0",
      git_commit: v1.commit,
    });
    expect(state["deployment_id"]).toMatch(new RegExp(`^\\d{8}_\\d{6}_${v1.commit.slice(0, 7)}$`));
    const levels = readFileSync(String(await stack.output("logFile")), "utf8")
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { level: string }).level);
    expect(levels).toContain("SUCCESS");
  });

  it("gives the server's role no rights beyond its rows", async () => {
    expect(
      await stack.query(
        "select rolname, rolsuper, rolcreatedb, rolcreaterole from pg_roles where rolname like 'togather%' order by 1",
      ),
    ).toBe("togather_app|f|f|f\ntogather_owner|f|f|f");
    expect(await stack.query("select has_schema_privilege('togather_app', 'public', 'create')")).toBe("f");
  });

  it("releases into the idle slot under load, and loses nothing", async () => {
    stack.edit("server/main.go", "package main", "package main // second release");
    // On a restore of the snapshot first: there too it may.
    stack.addMigration(
      "000006_own_reference",
      addReference(990001),
      "DELETE FROM spatial_ref_sys WHERE srid = 990001;",
    );
    v2 = await stack.commit("v2.0.0");
    const before = await stack.containers();
    stack.set({ slots: { blue: v1, green: v2 }, activeSlot: "green" });
    const load = startSecureLoad();
    const up = await stack.run("up");
    const report = await load.stop();
    expect(up.ok, up.output).toBe(true);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["blue", "green"]);
    expect(report.acknowledged.length).toBeGreaterThan(100);
    const stored = new Set((await stack.query("select id from events")).split("\n"));
    expect(report.acknowledged.filter((id) => !stored.has(id))).toEqual([]);
    const after = await stack.containers();
    for (const [name, id] of before) expect(after.get(name), name).toBe(id);
    expect((await health()).body).toMatchObject({ version: "v2.0.0", status: "healthy" });
    expect(
      await stack.query(
        "select string_agg(auth_name, ',' order by srid desc) from spatial_ref_sys where srid in (4326, 990001)",
      ),
    ).toBe("own,EPSG");
    expect(await stack.query("select relacl from pg_class where relname = 'spatial_ref_sys'")).toMatch(
      /=r\/postgres.*togather_owner=arwd\/postgres/,
    );
  });

  it("rolls back by flipping: three resources, no container touched, nothing lost", async () => {
    const before = await stack.containers();
    stack.set({ activeSlot: "blue" });
    const load = startSecureLoad();
    const up = await stack.run("up");
    const report = await load.stop();
    expect(up.ok, up.output).toBe(true);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["green", "blue"]);
    const { unchanged, ...changes } = up.changes;
    expect(unchanged).toBeGreaterThan(20);
    expect(changes).toEqual({ updated: 3 });
    expect(await stack.containers()).toEqual(before);
  });

  it("gives a rotated secret and another public URL to the idle slot only: the one that serves is not touched", async () => {
    const before = await stack.containers();
    const [events, told] = [await stack.query("select count(*) from events"), await stack.secureGet("/traits/told")];
    stack.set({ publicUrl: "https://events.example.org", database: { maxConnections: 151 } });
    stack.canaries.JWT_SECRET = `${stack.canaries.JWT_SECRET}rotated`;
    stack.writeSecrets();
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    const after = await stack.containers();
    expect(after.get(`togather-${stack.name}-blue`)).toBe(before.get(`togather-${stack.name}-blue`));
    expect(after.get(`togather-${stack.name}-green`)).not.toBe(before.get(`togather-${stack.name}-green`));
    expect(await stack.secureGet("/traits/told")).toEqual(told);
    const idle = (await (await fetch(`http://127.0.0.1:${stack.ports.green}/traits/told`)).json()) as Record<
      string,
      unknown
    >;
    expect(idle).toMatchObject({
      domain: "events.example.org",
      SERVER_BASE_URL: "https://events.example.org",
      TOLD: expect.stringMatching(/^green v2\.0\.0 /) as string,
    });
    // Its own container was made anew for it, on the same volume.
    expect(await stack.query("show max_connections")).toBe("151");
    expect(await stack.query("select count(*) from events")).toBe(events);
  });

  it("rotates the database's password under load, and rolls back, without a failed request", async () => {
    const loginWith = async (secret: string): Promise<boolean> => {
      const password = createHmac("sha256", secret).update("togather role app").digest("base64url");
      const args = [
        "exec",
        "--env=PGPASSWORD",
        `togather-${stack.name}-db`,
        "psql",
        "-AtX",
        "-h",
        "127.0.0.1",
        "-U",
        "togather_app",
        "-d",
        "togather",
        "-c",
        "select 1",
      ];
      return !(await execa("docker", args, { env: { PGPASSWORD: password }, reject: false })).failed;
    };
    const deploy = async (config: Record<string, unknown>): Promise<string> => {
      stack.set(config);
      const load = startSecureLoad();
      const up = await stack.run("up");
      const report = await load.stop();
      expect(up.ok, up.output).toBe(true);
      expect(report.lost).toEqual([]);
      expect(report.acknowledged.length).toBeGreaterThan(20);
      return up.output;
    };
    const old = stack.canaries.DATABASE_PASSWORD;
    const before = await stack.containers();
    stack.canaries.DATABASE_PASSWORD = `${old}rotated`;
    stack.writeSecrets();
    const output = await deploy({});
    expect(output).toMatch(
      /togather:databasePassword has changed\. blue serves on with the old password of the role togather_app/,
    );
    expect((await stack.containers()).get(`togather-${stack.name}-blue`)).toBe(
      before.get(`togather-${stack.name}-blue`),
    );
    // New connections of what serves are good as well.
    await execa("docker", ["restart", `togather-${stack.name}-blue`]);
    await expect.poll(async () => (await health()).status, { timeout: 30_000 }).toBe(200);
    expect(await loginWith(old)).toBe(true);

    await deploy({ slots: { blue: v1, green: { ...v1, version: "v1.0.1" } }, activeSlot: "green" });
    expect((await health()).body).toMatchObject({ version: "v1.0.1", status: "healthy" });
    expect(
      await stack.query(
        "select distinct usename from pg_stat_activity where datname = 'togather' and usename like 'togather_app%' order by 1",
      ),
    ).toContain("togather_app_2");
    await deploy({ activeSlot: "blue" });
    expect((await health()).body).toMatchObject({ version: "v1.0.0", status: "healthy" });
    // Nothing is left of the old one.
    expect(await loginWith(old)).toBe(false);
    expect(
      await stack.query(
        "select distinct usename from pg_stat_activity where datname = 'togather' and usename like 'togather_app%'",
      ),
    ).toBe("togather_app_2");
    const again = await stack.run("up");
    expect(again.output).not.toMatch(/has changed/);
    expect(Object.keys(again.changes)).toEqual(["unchanged"]);
  });

  it("does what the README's daily commands say", async () => {
    const readme = readFileSync(join(stack.directory, "README.md"), "utf8");
    const written = [...readme.matchAll(/`npm run ((?:pulumi|togather) -- [^`]*--stack production[^`]*)`/g)].map(
      ([, command]) => String(command),
    );
    // `release` and `rollback` go through their life in cli.test.ts.
    const commands = written.filter((command) => !/togather -- (release|rollback)/.test(command));
    expect(commands.length).toBeGreaterThanOrEqual(5);
    for (const command of commands) {
      // Following ends when a person says so.
      const real = command
        .replace("production", stack.name)
        .replace("-- up", "-- up --yes --skip-preview")
        .replace(" --follow", "")
        .replace("-- COMMAND", "-- /server healthcheck");
      const output = await stack.npmRun(real);
      if (command.includes("-- maintenance on")) {
        expect(output, command).toMatch(/Back at 15:00 UTC/);
        expect((await health()).status).toBe(503);
        // "and then `off`"
        const off = await stack.npmRun(real.replace(/ on --message "[^"]*"/, " off"));
        expect(off).toMatch(/Maintenance is off: the public reaches the slot that serves/);
        continue;
      }
      if (!command.includes("-- exec")) expect(output, command).toMatch(/unchanged|blue|_togather\/preview|"level"/);
    }
  });

  it("refuses a release into the slot that serves", async () => {
    stack.set({ slots: { blue: v2, green: v2 } });
    const up = await stack.run("up");
    expect(up.ok).toBe(false);
    expect(up.output).toMatch(/togather:slots\.blue: blue serves v1\.0\.0/);
    expect(up.output).not.toMatch(/at .*\.ts:\d+/);
    stack.set({ slots: { blue: v1, green: v2 } });
    expect((await health()).body).toMatchObject({ version: "v1.0.0" });
  });

  it("leaves the old slot serving when the gate fails, and says what is wrong", async () => {
    stack.edit(
      "server/main.go",
      "func main() {",
      'func main() {\n\tprintln("refusing to start, on purpose")\n\tif true {\n\t\tpanic("broken release")\n\t}',
    );
    const broken = await stack.commit("v3.0.0");
    stack.set({ slots: { blue: v1, green: broken }, activeSlot: "green" });
    const load = startSecureLoad();
    const up = await stack.run("up");
    const report = await load.stop();
    expect(up.ok).toBe(false);
    expect(up.output).toMatch(/broken release/);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["blue"]);
    expect((await health()).body).toMatchObject({ version: "v1.0.0", status: "healthy" });
  });

  it("takes the next good release without cleaning up", async () => {
    stack.edit("server/main.go", 'panic("broken release")', "_ = 0");
    const fixed = await stack.commit("v3.0.1");
    stack.set({ slots: { blue: v1, green: fixed } });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(await health()).toMatchObject({ slot: "green", body: { version: "v3.0.1" } });
    const history = readFileSync(join(stack.directory, ".togather/deployment", stack.name, "history.jsonl"), "utf8");
    expect(history).toMatch(/"failed"/);
  });

  it("takes what runs into a state that was lost, under load, and touches nothing", async () => {
    const before = await stack.containers();
    const { slot, body } = await health();
    rmSync(join(stack.directory, ".togather/state"), { recursive: true });
    const gone = await stack.togather("up");
    expect([gone.code, gone.stderr]).toEqual([2, expect.stringContaining(`import --stack ${stack.name}`)]);
    mkdirSync(join(stack.directory, ".togather/state"));
    const elsewhere = await stack.togather("up");
    expect([elsewhere.code, elsewhere.stderr]).toEqual([2, expect.stringContaining(`import --stack ${stack.name}`)]);
    await stack.pulumi(["stack", "init", stack.name]);
    const refused = await stack.run("up");
    expect(refused.ok).toBe(false);
    expect(refused.output).toMatch(/does not know togather-.*-router.* the state was lost/);
    expect(refused.output).toContain(`togather import --stack ${stack.name}`);
    expect(refused.output).not.toMatch(/docker:index|already exists/);

    const load = startSecureLoad();
    const { code, stdout, stderr } = await stack.togather("import");
    const report = await load.stop();
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toMatch(/^Taken into Pulumi's state: .*togather-\S+-router/m);
    expect(stdout).toContain(`${slot} serves ${String(body["version"])}`);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual([slot]);
    expect(await stack.containers()).toEqual(before);
    const again = await stack.run("up");
    expect(Object.keys(again.changes), again.output).toEqual(["unchanged"]);
    // An older copy of a state is put right the same way: here, one that knows neither the router nor the slot that serves.
    const urns = (
      JSON.parse(await stack.state()) as { deployment: { resources: { urn: string }[] } }
    ).deployment.resources
      .map(({ urn }) => urn)
      .filter((urn) => urn.endsWith("::router-container") || urn.endsWith(`::${slot}-slot-container`));
    for (const urn of urns)
      await stack.pulumi(["state", "delete", urn, "--target-dependents", "--yes", "--stack", stack.name]);
    expect((await stack.run("up")).output).toContain("does not know");
    const half = await stack.togather("import");
    expect(half.code, half.stderr).toBe(0);
    expect(await stack.containers()).toEqual(before);
  });

  it("tells no secret: not in state, export, logs, command lines or images", async () => {
    const { stdout: images } = await execa("docker", ["image", "inspect", `togather-server:${v1.commit}`]);
    const { stdout: history } = await execa("docker", ["history", "--no-trunc", `togather-server:${v1.commit}`]);
    const files = readdirSync(join(stack.directory, ".togather"), { recursive: true, encoding: "utf8" })
      .map((file) => join(stack.directory, ".togather", file))
      .filter((file) => statSync(file).isFile() && !file.includes("/backups/"))
      .map((file) => readFileSync(file, "utf8"));
    expect(files.length).toBeGreaterThan(3);
    const everywhere = [await stack.state(), images, history, ...files].join("\n");
    for (const canary of Object.values<string>({ ...stack.canaries, ...stack.moreSecrets }))
      expect(everywhere.includes(canary)).toBe(false);
  });

  it("keeps its data when somebody destroys it by one command", async () => {
    const destroy = await stack.run("destroy");
    expect(destroy.ok).toBe(false);
    expect(destroy.output).toMatch(/database-database" cannot be deleted\s+because it is protected/);
    const { stdout } = await execa("docker", [
      "volume",
      "ls",
      "--quiet",
      "--filter",
      `name=togather-${stack.name}-db-data`,
    ]);
    expect(stdout).toBe(`togather-${stack.name}-db-data`);
  });

  it("goes without leaving anything but its data and backups", async () => {
    await stack.pulumi(["state", "unprotect", "--all", "--yes", "--stack", stack.name]);
    const destroy = await stack.run("destroy");
    expect(destroy.ok, destroy.output).toBe(true);
    expect(await stack.containers()).toEqual(new Map());
    const { stdout: networks } = await execa("docker", [
      "network",
      "ls",
      "--filter",
      `name=togather-${stack.name}`,
      "--format",
      "{{.Name}}",
    ]);
    const { stdout: volumes } = await execa("docker", [
      "volume",
      "ls",
      "--filter",
      `name=togather-${stack.name}`,
      "--format",
      "{{.Name}}",
    ]);
    // The database's volume stays on disk even when Pulumi forgets it.
    expect([networks, volumes]).toEqual(["", `togather-${stack.name}-db-data`]);
    expect(readdirSync(join(stack.directory, ".togather/backups")).length).toBeGreaterThan(0);
  });
});
