import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { execa } from "execa";
import { parseDocument } from "yaml";
import { certificatePair } from "../certificate-pair.ts";
import type { ListedSnapshot } from "../../cli/snapshots/catalog.ts";
import type { Manifest } from "../../ops/contract/manifest.ts";
import { freePort, freeSubnet } from "./addresses.ts";
import { Children } from "./children.ts";

const project = join(import.meta.dirname, "../..");

/** Secret values of a test's stack, searched for in all places where they must not be. */
export interface Canaries {
  JWT_SECRET: string;
  ADMIN_API_KEY: string;
  DATABASE_PASSWORD: string;
}

/** The output of one run of Pulumi, and its resource counts. */
export interface Run {
  ok: boolean;
  output: string;
  /** Resource counts by operation (create, update, replace, same, delete); empty when it failed before the summary. */
  changes: Partial<Record<string, number>>;
  durationMs: number;
}

/** A snapshot as a list has it; those of tests all have a manifest. */
export type Listed = ListedSnapshot & { manifest: Manifest };

/**
 * Makes a new directory, under a name that is used again once it is removed: Node finds compiled code by the file's path, so
 * every copy of this project at the same path can use what was compiled for the one before.
 */
function ownDirectory(): string {
  for (let number = 1; ; number++) {
    const directory = join(tmpdir(), `togather-test-${number}`);
    try {
      mkdirSync(directory, { mode: 0o700 });
      return directory;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/**
 * A separate deployment for a test: a copy of this project with its own git history, stack, backend, ports, subnet,
 * directories and names, so that it can run beside any other deployment. Needs `pulumi` on PATH (test/run.ts).
 */
export class TestStack {
  readonly name: string;
  readonly directory: string;
  readonly canaries: Canaries;
  readonly ports: { http: number; https: number; blue: number; green: number; database: number };
  /** Further lines of a test's secrets file. */
  moreSecrets: Record<string, string> = {};
  /** Variables for Pulumi and togather beside this process's own. */
  variables: NodeJS.ProcessEnv = {};
  private readonly commits: string[] = [];
  private readonly children = new Children();

  private constructor(name: string, directory: string, ports: TestStack["ports"]) {
    this.name = name;
    this.directory = directory;
    this.ports = ports;
    const canary = (): string => `canary${randomBytes(24).toString("hex")}`;
    this.canaries = { JWT_SECRET: canary(), ADMIN_API_KEY: canary(), DATABASE_PASSWORD: canary() };
  }

  /**
   * Makes the copy, its first commit and stack. Nothing runs yet.
   * @param environment whose default rules it has; production's wants a certificate, and gets one.
   */
  static async create(environment: "production" | "staging" = "staging"): Promise<TestStack> {
    const name = `test-${randomBytes(4).toString("hex")}`;
    // A path with a space, as on many people's machines.
    const directory = join(ownDirectory(), "a project");
    const ports = {
      http: await freePort(),
      https: await freePort(),
      blue: await freePort(),
      green: await freePort(),
      database: await freePort(),
    };
    const stack = new TestStack(name, directory, ports);
    const { stdout } = await execa("git", [
      "-C",
      project,
      "ls-files",
      "-z",
      "--cached",
      "--others",
      "--exclude-standard",
    ]);
    for (const file of stdout.split("\0").filter((path) => path !== "" && !path.startsWith("test/"))) {
      mkdirSync(dirname(join(directory, file)), { recursive: true });
      cpSync(join(project, file), join(directory, file));
    }
    symlinkSync(join(project, "node_modules"), join(directory, "node_modules"));
    await stack.git("init", "--quiet", "--initial-branch=main");
    await stack.commit("v1");
    await stack.pulumi(["stack", "init", name]);
    stack.set({
      environment,
      name,
      listenAddress: "127.0.0.1",
      ports: { http: ports.http, https: ports.https },
      slotPorts: { blue: ports.blue, green: ports.green },
      databasePort: ports.database,
      subnet: `${await freeSubnet()}.0/24`,
      secretsFile: ".env.test",
      deployment: stack.deployment(),
    });
    stack.writeSecrets();
    if (environment === "production") await stack.serveHttps();
    return stack;
  }

  /** Sets a certificate of the stack's own. */
  private async serveHttps(): Promise<void> {
    const { certificate, key } = await certificatePair();
    const files = { certificateFile: ".togather/tls/certificate.pem", keyFile: ".togather/tls/key.pem" };
    mkdirSync(join(this.directory, ".togather/tls"), { recursive: true });
    writeFileSync(join(this.directory, files.certificateFile), certificate);
    writeFileSync(join(this.directory, files.keyFile), key, { mode: 0o600 });
    this.set({ tls: files });
  }

  /** Writes the secrets file from the canaries and what else the test has. */
  writeSecrets(): void {
    const lines = Object.entries({ ...this.canaries, ...this.moreSecrets }).map(([key, value]) => `${key}=${value}\n`);
    writeFileSync(join(this.directory, ".env.test"), lines.join(""), { mode: 0o600 });
  }

  private async git(...args: string[]): Promise<string> {
    const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"];
    return (await execa("git", [...identity, ...args], { cwd: this.directory })).stdout;
  }

  /** Commits the copy as it stands; returns the release. */
  async commit(version: string): Promise<{ version: string; commit: string }> {
    await this.git("add", "--all");
    await this.git("commit", "--quiet", "--allow-empty", "--message", version);
    const commit = await this.git("rev-parse", "HEAD");
    this.commits.push(commit);
    return { version, commit };
  }

  /** The same, with the version as its tag, which is what `togather release` is told. */
  async commitTagged(version: string): Promise<{ version: string; commit: string }> {
    const release = await this.commit(version);
    await this.git("tag", version);
    return release;
  }

  /** Writes a migration beside the copy's own. @param name with its number, such as `000005_mood`. */
  addMigration(name: string, up: string, down: string): void {
    for (const [direction, sql] of Object.entries({ up, down }))
      writeFileSync(join(this.directory, `migrations/${name}.${direction}.sql`), `${sql}\n`);
  }

  /** Changes a file of the copy. @throws when the text to replace is not in it. */
  edit(file: string, from: string, to: string): void {
    const path = join(this.directory, file);
    const text = readFileSync(path, "utf8");
    if (!text.includes(from)) throw new Error(`${file} does not contain ${JSON.stringify(from)}`);
    writeFileSync(path, text.replace(from, to));
  }

  /** `togather:deployment` of a test, with values of its own beside those that all have. */
  deployment({
    deployment = {},
    database = {},
  }: Partial<Record<"deployment" | "database", Record<string, unknown>>> = {}): Record<string, unknown> {
    const at = (name: string): string => join(this.directory, ".togather", name);
    return {
      deployment: { health_check_retries: 4, health_check_interval: 0.5, grace_period: 8, ...deployment },
      database: { backup_location: at("backups"), ...database },
      logging: { location: at("log") },
      // Other deployments of this machine keep theirs.
      images: { retention: 1000 },
      state: { location: at("deployment") },
    };
  }

  /** Sets config of the stack, as an operator edits its file. */
  set(config: Record<string, unknown>): void {
    const file = join(this.directory, `Pulumi.${this.name}.yaml`);
    const document = parseDocument(readFileSync(file, "utf8"));
    for (const [key, value] of Object.entries(config)) document.setIn(["config", `togather:${key}`], value);
    writeFileSync(file, document.toString());
  }

  /** The environment in which Pulumi runs for this stack. */
  private environment(): NodeJS.ProcessEnv {
    return {
      PULUMI_BACKEND_URL: `file://${encodeURI(join(this.directory, ".togather/state"))}`,
      PULUMI_CONFIG_PASSPHRASE: "test",
      PULUMI_CONFIG_PASSPHRASE_FILE: "",
      ...this.variables,
    };
  }

  /** Runs the Pulumi CLI in the copy; fails the test when it fails. */
  async pulumi(args: string[]): Promise<string> {
    mkdirSync(join(this.directory, ".togather/state"), { recursive: true });
    const options = { cwd: this.directory, env: this.environment() };
    return (await this.children.start(() => execa("pulumi", [...args, "--non-interactive"], options))).stdout;
  }

  /** One of package.json's scripts with its arguments, as it is written in a document, and as a shell reads it. */
  async npmRun(command: string): Promise<string> {
    const options = { cwd: this.directory, env: this.environment(), shell: true };
    return (await this.children.start(() => execa(`npm run --silent ${command}`, options))).stdout;
  }

  /** `togather` in the copy, as an operator calls it. */
  async togather(...args: string[]): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
    const { exitCode, stdout, stderr } = await this.children.start(() =>
      execa("node", ["cli/togather.ts", ...args, "--stack", this.name], {
        cwd: this.directory,
        env: this.environment(),
        reject: false,
      }),
    );
    return { code: exitCode, stdout, stderr };
  }

  /** The same, to be looked at, or killed, while it runs. */
  start(...args: string[]) {
    return this.children.start(() =>
      execa("node", ["cli/togather.ts", ...args, "--stack", this.name], {
        cwd: this.directory,
        env: this.environment(),
        reject: false,
        all: true,
        detached: true,
      }),
    );
  }

  /** The list of `togather snapshots list`. */
  async snapshots(): Promise<Listed[]> {
    return JSON.parse((await this.togather("snapshots", "list", "--json")).stdout) as Listed[];
  }

  /** `pulumi up` or another operation on the stack, as an operator runs it. */
  async run(operation: "up" | "preview" | "refresh" | "destroy", flags: string[] = []): Promise<Run> {
    const started = Date.now();
    const confirm = operation === "preview" ? [] : ["--yes", "--skip-preview"];
    const result = await this.children.start(() =>
      execa("pulumi", [operation, "--stack", this.name, "--non-interactive", "--color=never", ...confirm, ...flags], {
        cwd: this.directory,
        env: this.environment(),
        reject: false,
        all: true,
      }),
    );
    const output = result.all;
    return { ok: result.exitCode === 0, output, changes: countChanges(output), durationMs: Date.now() - started };
  }

  /** An output of the stack. */
  async output(name: string): Promise<unknown> {
    return JSON.parse(await this.pulumi(["stack", "output", name, "--json", "--stack", this.name])) as unknown;
  }

  /** The stack's state as the backend keeps it, and as an export shows it. */
  async state(): Promise<string> {
    return this.pulumi(["stack", "export", "--stack", this.name]);
  }

  /** Names of this deployment's containers that run, and the id of each. */
  async containers(): Promise<Map<string, string>> {
    const { stdout } = await execa("docker", [
      "ps",
      "--no-trunc",
      "--filter",
      `label=org.togather.name=${this.name}`,
      "--format",
      "{{.Names}} {{.ID}}",
    ]);
    return new Map(
      stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => line.split(" ") as [string, string]),
    );
  }

  /** A SQL query in the deployment's database, as its superuser. */
  async query(sql: string): Promise<string> {
    return (
      await execa("docker", [
        "exec",
        "-u",
        "postgres",
        `togather-${this.name}-db`,
        "psql",
        "-AtX",
        "-d",
        "togather",
        "-c",
        sql,
      ])
    ).stdout;
  }

  /** URL of the router. */
  url(path: string): string {
    return `http://127.0.0.1:${this.ports.http}${path}`;
  }

  /** The public's answer over HTTPS. The certificate is the test's own and is not verified. */
  async secureGet(
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; slot: string | undefined; body: Record<string, unknown> }> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const where = { host: "127.0.0.1", port: this.ports.https, path, headers, rejectUnauthorized: false };
      get(where, resolve).once("error", reject);
    });
    const slot = response.headers["x-togather-slot"];
    const body = JSON.parse(await text(response)) as Record<string, unknown>;
    return { status: response.statusCode ?? 0, slot: slot === undefined ? undefined : String(slot), body };
  }

  /** Removes everything of this deployment, by name, whatever state it is in. */
  async remove(): Promise<void> {
    await this.children.end();
    const parts = ["blue", "green", "router", "db", "dev"].map((part) => `togather-${this.name}-${part}`);
    await execa("docker", ["rm", "--force", "--volumes", ...parts], { reject: false });
    await execa(
      "docker",
      [
        "volume",
        "rm",
        "--force",
        `togather-${this.name}-db-data`,
        `togather-${this.name}-router-files`,
        `togather-${this.name}-dev-cache`,
      ],
      { reject: false },
    );
    await execa("docker", ["network", "rm", `togather-${this.name}`], { reject: false });
    const { stdout: kept } = await execa("docker", [
      "image",
      "ls",
      "--format={{.Repository}}:{{.Tag}}",
      `--filter=reference=togather-kept:${this.name}-*`,
    ]);
    if (kept !== "") await execa("docker", ["image", "rm", ...kept.split("\n")], { reject: false });
    await execa("docker", ["image", "rm", "--force", ...this.commits.map((commit) => `togather-server:${commit}`)], {
      reject: false,
    });
    // Images that lost their tag to another image of the same commit.
    for (const commit of this.commits)
      await execa(
        "docker",
        ["image", "prune", "--force", `--filter=label=org.opencontainers.image.revision=${commit}`],
        { reject: false },
      );
    rmSync(`/tmp/togather-deploy-${this.name}.lock`, { force: true });
    rmSync(dirname(this.directory), { recursive: true, force: true });
  }
}

/** The summary that ends Pulumi's output: `+ 37 created`, `~ 3 updated`, `4 unchanged`. */
export function countChanges(output: string): Run["changes"] {
  const summary = output.slice(output.lastIndexOf("Resources:"));
  const changes: Run["changes"] = {};
  for (const [, count, what] of summary.matchAll(/(\d+) (created|updated|replaced|deleted|unchanged)/g))
    changes[String(what)] = Number(count);
  return changes;
}
