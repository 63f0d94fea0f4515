import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dotenvLine } from "../../config/secrets/dotenv.ts";
import { formatDatabaseUrl } from "../../ops/contract/connection.ts";
import { docker, Harness } from "../step-harness.ts";
import { TestStack } from "./stack.ts";

const project = join(import.meta.dirname, "../..");
const migrations = "internal/storage/postgres/migrations";

/** A repository of the server in test/samples/nested, beside a stack's project. */
class SampleRepository {
  readonly directory: string;
  readonly commits: string[] = [];

  constructor(directory: string) {
    this.directory = directory;
    cpSync(join(project, "test/samples/nested"), directory, { recursive: true });
    mkdirSync(join(directory, "internal/deps"), { recursive: true });
    for (const file of ["go.mod", "go.sum", "internal/deps/deps.go"])
      cpSync(join(project, "server", file), join(directory, file));
  }

  private async git(...args: string[]): Promise<string> {
    return (
      await execa(
        "git",
        ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false", ...args],
        { cwd: this.directory },
      )
    ).stdout;
  }

  async release(version: string): Promise<{ version: string; commit: string }> {
    await this.git("init", "--quiet");
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--allow-empty", "--message", version);
    const commit = await this.git("rev-parse", "HEAD");
    this.commits.push(commit);
    return { version, commit };
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.directory, file), text);
  }
}

// An external database, and an external server. Each test starts where the previous one ended.
describe("an external database and another server", () => {
  const somebody = new Harness();
  const secret = (): string => randomBytes(24).toString("base64url");
  // Odd characters, so that every way a password can get lost or leak is tried.
  const passwords = { owner: `canary ${secret()} /@:'%"`, app: `canary\\${secret()}?#ü[$` };
  const smtpPassword = `canary-${secret()} "$x'`;
  let stack: TestStack;
  let sample: SampleRepository;
  let v1: { version: string; commit: string };
  let v2: { version: string; commit: string };

  const url = (role: "owner" | "app", database = "events"): string =>
    formatDatabaseUrl({
      host: somebody.postgres,
      port: 5432,
      user: `togather_${role}`,
      password: passwords[role],
      database,
      parameters: { sslmode: "disable" },
    });

  /** The secrets file, with other values where a test needs them. */
  function writeSecrets(over: Record<string, string> = {}): void {
    const values = {
      JWT_SECRET: stack.canaries.JWT_SECRET,
      ADMIN_API_KEY: stack.canaries.ADMIN_API_KEY,
      DATABASE_URL: url("app"),
      MIGRATION_DATABASE_URL: url("owner"),
      ...over,
    };
    writeFileSync(
      join(stack.directory, ".env.test"),
      Object.entries(values)
        .map(([name, value]) => `${dotenvLine(name, value)}\n`)
        .join(""),
      { mode: 0o600 },
    );
  }

  async function health(): Promise<{ slot: string | null; body: Record<string, unknown> }> {
    const response = await fetch(stack.url("/health"));
    return { slot: response.headers.get("x-togather-slot"), body: (await response.json()) as Record<string, unknown> };
  }
  const note = async (text: string): Promise<number> =>
    (await fetch(stack.url(`/notes/${text}`), { method: "POST" })).status;
  const notes = (): Promise<string> => somebody.sql("SELECT string_agg(text, ',' ORDER BY id) FROM notes", "events");

  beforeAll(async () => {
    await somebody.setUp();
    const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
    for (const role of ["owner", "app"] as const)
      await somebody.sql(`CREATE ROLE togather_${role} LOGIN PASSWORD ${literal(passwords[role])}`);
    await somebody.sql("CREATE DATABASE events OWNER togather_owner");
    for (const sql of [
      "GRANT CREATE, USAGE ON SCHEMA public TO togather_owner",
      "ALTER DEFAULT PRIVILEGES FOR ROLE togather_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO togather_app",
      "ALTER DEFAULT PRIVILEGES FOR ROLE togather_owner IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO togather_app",
    ]) {
      await somebody.sql(sql, "events");
    }
    stack = await TestStack.create();
    sample = new SampleRepository(join(dirname(stack.directory), "another server"));
    v1 = await sample.release("v1.0.0");
    stack.set({
      database: { mode: "external", network: somebody.network, extensions: ["pg_trgm"] },
      source: {
        repository: "../another server",
        paths: ["."],
        dockerfile: "deploy/docker/Dockerfile",
        buildArguments: { GIT_COMMIT: "{commit}", BUILD_DATE: "{created}" },
        migrations,
        port: 9000,
        portVariable: "SERVER_PORT",
        environment: { CORS_ALLOWED_ORIGINS: "https://events.example.org" },
        secrets: ["SMTP_PASSWORD"],
        river: false,
      },
      slots: { blue: v1 },
      activeSlot: "blue",
    });
    writeSecrets();
    await stack.pulumi([
      "config",
      "set",
      "--stack",
      stack.name,
      "--secret",
      "--path",
      "togather:secrets.SMTP_PASSWORD",
      smtpPassword,
    ]);
  });
  afterAll(async () => {
    await stack.remove();
    await execa("docker", ["image", "rm", "--force", ...sample.commits.map((commit) => `togather-server:${commit}`)], {
      reject: false,
    });
    await somebody.tearDown();
  });

  it("is refused before anything changes, with all that is wrong and what mends it", async () => {
    await somebody.sql("ALTER ROLE togather_app SUPERUSER; ALTER ROLE togather_owner CONNECTION LIMIT 1");
    const up = await stack.run("up");
    expect(up.ok).toBe(false);
    expect(up.output).toMatch(
      /can't be used: it lacks the extension pg_trgm; the server's role togather_app is a SUPERUSER: .*; the role togather_owner has a CONNECTION LIMIT of 1: .*Nothing was changed/,
    );
    expect(up.output).toMatch(/→ as a superuser of events: CREATE EXTENSION "pg_trgm";/);
    expect(up.output).toMatch(/→ ALTER ROLE "togather_app" NOSUPERUSER;/);
    expect([...(await stack.containers()).keys()].filter((name) => /blue|green/.test(name))).toEqual([]);
    expect(await somebody.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", "events")).toBe("0");
    await somebody.sql("ALTER ROLE togather_app NOSUPERUSER; ALTER ROLE togather_owner CONNECTION LIMIT -1");
    await somebody.sql("CREATE EXTENSION pg_trgm", "events");
  });

  it("is refused when the two URLs are two databases, or one is no good", async () => {
    writeSecrets({ MIGRATION_DATABASE_URL: url("owner", "postgres") });
    expect((await stack.run("up")).output).toMatch(
      /MIGRATION_DATABASE_URL is the database postgres at .* and DATABASE_URL another one, the database events/,
    );
    writeSecrets({ DATABASE_URL: url("app").replace("@", "x@") });
    const up = await stack.run("up");
    expect(up.output).toMatch(
      /no connection to the database events at .* as togather_app: password authentication failed/,
    );
    expect(up.output).not.toContain("canary");
    writeSecrets();
  });

  it("serves, with nothing of ours made for it", async () => {
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect((await health()).slot).toBe("blue");
    expect((await health()).body).toMatchObject({
      status: "degraded",
      version: "v1.0.0",
      git_commit: v1.commit,
      slot: "blue",
      checks: { database: { status: "pass" }, migrations: { status: "pass", details: { version: 1 } } },
    });
    expect([...(await stack.containers()).keys()].sort()).toEqual([
      `togather-${stack.name}-blue`,
      `togather-${stack.name}-router`,
    ]);
    expect(await note("one")).toBe(201);
    expect(await somebody.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'notes'", "events")).toBe(
      "togather_owner",
    );
    expect(Object.keys((await stack.run("up")).changes)).toEqual(["unchanged"]);
  });

  it("releases with a migration, after a snapshot that the owner's role has proved", async () => {
    await somebody.sql("ALTER ROLE togather_owner CREATEDB");
    sample.write(
      `${migrations}/000002_author.up.sql`,
      "ALTER TABLE notes ADD COLUMN author text NOT NULL DEFAULT 'nobody';\n",
    );
    sample.write(`${migrations}/000002_author.down.sql`, "ALTER TABLE notes DROP COLUMN author;\n");
    v2 = await sample.release("v2.0.0");
    stack.set({ slots: { blue: v1, green: v2 }, activeSlot: "green" });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect((await health()).body).toMatchObject({
      version: "v2.0.0",
      git_commit: v2.commit,
      slot: "green",
      checks: { migrations: { details: { version: 2 } } },
    });
    expect(await note("two")).toBe(201);
    expect(await somebody.sql("SELECT string_agg(author, ',') FROM notes", "events")).toBe("nobody,nobody");
    expect(
      readdirSync(join(stack.directory, ".togather/backups")).filter((file) => file.endsWith(".sql.gz")),
    ).toHaveLength(2);
    // One note, and golang-migrate's own row.
    const manifests = readdirSync(join(stack.directory, ".togather/backups"))
      .filter((file) => file.endsWith(".json"))
      .sort();
    expect(
      JSON.parse(readFileSync(join(stack.directory, ".togather/backups", manifests.at(-1) ?? ""), "utf8")),
    ).toMatchObject({ rows: 2, verified_at: expect.any(String) as string });
  });

  it("rolls back, and says what is", async () => {
    const rollback = await stack.togather("rollback");
    expect(rollback.code, `${rollback.stdout}\n${rollback.stderr}`).toBe(0);
    expect((await health()).body).toMatchObject({ version: "v1.0.0", slot: "blue" });
    expect(await note("three")).toBe(201);
    expect(await notes()).toBe("one,two,three");
    const status = JSON.parse((await stack.togather("status", "--json")).stdout) as Record<string, unknown>;
    expect(status).toMatchObject({
      serving: { slot: "blue", release: v1, health: { status: "degraded", version: "v1.0.0" } },
      // Asked itself, in the private network and not in its database's.
      slots: { blue: { health: { status: "degraded", version: "v1.0.0" } } },
      drift: [],
    });
    const history = JSON.parse((await stack.togather("history", "--json")).stdout) as {
      status: string;
      version: string;
    }[];
    expect(history.map(({ status: how, version }) => `${version} ${how}`)).toEqual([
      "v1.0.0 succeeded",
      "v2.0.0 succeeded",
      "v1.0.0 succeeded",
      ...history.slice(3).map(({ version }) => `${version} failed`),
    ]);
  });

  it("is looked at by the doctor, with its room for connections", async () => {
    await somebody.sql("ALTER ROLE togather_app CONNECTION LIMIT 1");
    const doctor = await stack.togather("doctor");
    await somebody.sql("ALTER ROLE togather_app CONNECTION LIMIT -1");
    expect(doctor.stdout).toMatch(
      /FAIL +connections +the role togather_app has a CONNECTION LIMIT of 1: .*\n.*\n? *→ ALTER ROLE "togather_app" CONNECTION LIMIT -1;/,
    );
    expect((await stack.togather("doctor")).stdout).not.toMatch(/^\S+ +connections/m);
  });

  it("does not repeat what a server prints that can't start", async () => {
    const main = readFileSync(join(sample.directory, "cmd/server/main.go"), "utf8");
    sample.write(
      "cmd/server/main.go",
      main.replace(
        "func main() {",
        'func main() {\n\tfmt.Fprintln(os.Stderr, "giving up with", os.Environ())\n\tos.Exit(1)',
      ),
    );
    const v3 = await sample.release("v3.0.0");
    stack.set({ slots: { blue: v1, green: v3 }, activeSlot: "green" });
    const up = await stack.run("up");
    expect(up.ok).toBe(false);
    expect(up.output).toMatch(/giving up with .*SMTP_PASSWORD=\*\*\*REDACTED/);
    expect(up.output).not.toContain("canary");
    for (const password of Object.values(passwords))
      expect(up.output.includes(encodeURIComponent(password))).toBe(false);
    stack.set({ slots: { blue: v1, green: v2 }, activeSlot: "blue" });
    expect((await stack.run("up")).ok).toBe(true);
    expect(await notes()).toBe("one,two,three");
  });

  it("tells no secret", async () => {
    const logs = join(stack.directory, ".togather/log");
    const written = readdirSync(logs).map((file) => readFileSync(join(logs, file), "utf8"));
    const everything = [await stack.state(), ...written, (await stack.togather("logs", "--json")).stdout].join("\n");
    for (const canary of [...Object.values(passwords), smtpPassword, stack.canaries.JWT_SECRET]) {
      for (const spelling of [canary, encodeURIComponent(canary), JSON.stringify(canary).slice(1, -1)])
        expect(everything.includes(spelling)).toBe(false);
    }
  });

  it("is left as it is when the stack is destroyed", async () => {
    const id = await docker("inspect", "--format={{.Id}} {{.State.StartedAt}}", somebody.postgres);
    const destroyed = await stack.run("destroy");
    expect(destroyed.ok, destroyed.output).toBe(true);
    expect(await stack.containers()).toEqual(new Map());
    expect(await notes()).toBe("one,two,three");
    expect(await somebody.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'togather%' ORDER BY 1")).toBe(
      "togather_app\ntogather_owner",
    );
    expect(await docker("inspect", "--format={{.Id}} {{.State.StartedAt}}", somebody.postgres)).toBe(id);
  });
});
