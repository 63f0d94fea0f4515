/** For integration tests: a separate network, PostgreSQL and state directory, and steps that run as in Pulumi. */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { execa, type ResultPromise } from "execa";
import { contract, type OwnRequest, type StepName, type StepResult } from "../ops/contract/steps.ts";
import { bundledImageDigest, bundledImageTag, projectDirectory, type BundledImage } from "../ops/image.ts";
import { freeSubnet } from "./integration/addresses.ts";
import { Children } from "./integration/children.ts";

/** The end of a step's client. */
export interface Outcome<S extends StepName = StepName> {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
  /** Only after exit code 0. */
  result: StepResult<S>;
}

/** Requests in tests are written as constants. */
type Constant<T> = T extends readonly unknown[]
  ? Readonly<T>
  : T extends object
    ? { readonly [K in keyof T]: Constant<T[K]> }
    : T;
type Own<S extends StepName> = Constant<Omit<OwnRequest<S>, "network">>;
export type Environment = Record<string, string>;

export async function docker(...args: string[]): Promise<string> {
  return (await execa("docker", args, { stdin: "ignore" })).stdout;
}

/** Waits for something that takes a while. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  seconds = 60,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = await probe().catch(() => undefined);
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(100);
  }
}

export class Harness {
  readonly name = `t-ops-${randomBytes(4).toString("hex")}`;
  readonly network = `togather-${this.name}`;
  /** Odd characters, so that every way it can leak is tried. */
  readonly password = `c4n4ry ${randomBytes(6).toString("hex")} /@:'%"`;
  directory = "";
  private prefix = "";
  private readonly children = new Children();
  readonly postgres = `togather-${this.name}-db`;

  /** Starts a client without waiting for it. */
  start<S extends StepName>(
    step: S,
    request: Own<S>,
    environment: Environment = {},
  ): ResultPromise<{ reject: false; stdin: "ignore"; env: Record<string, string> }> {
    const common = { contract: 1, name: this.name, environment: "staging", ...this.fieldsOf(step) };
    const full: unknown = Object.assign(common, request);
    return this.children.start(() =>
      execa(process.execPath, ["ops/main.ts", step], {
        cwd: projectDirectory,
        reject: false,
        stdin: "ignore",
        env: { DATABASE_URL: this.url(), TOGATHER_REQUEST: JSON.stringify(full), ...environment },
      }),
    );
  }

  async run<S extends StepName>(step: S, request: Own<S>, environment: Environment = {}): Promise<Outcome<S>> {
    const { exitCode, stdout, stderr } = await this.start(step, request, environment);
    return { exitCode, stdout, stderr, result: (exitCode === 0 ? JSON.parse(stdout) : undefined) as StepResult<S> };
  }

  /** Fields that every step of a deployment has, as far as its contract has them, which is strict: nothing too much. */
  private fieldsOf(step: StepName): Record<string, string> {
    const fields = {
      stateLocation: join(this.directory, "state"),
      logLocation: join(this.directory, "logs"),
      network: this.network,
    };
    const { shape } = contract[step].request;
    return Object.fromEntries(Object.entries(fields).filter(([key]) => Object.hasOwn(shape, key)));
  }

  get backups(): string {
    return join(this.directory, "backups");
  }

  address(host: number): string {
    return `${this.prefix}.${host}`;
  }

  /** DATABASE_URL of the superuser, or of another role, for one of the databases. */
  url(database = "postgres", role = { name: "postgres", password: this.password }): string {
    return `postgresql://${role.name}:${encodeURIComponent(role.password)}@${this.address(20)}:5432/${database}?sslmode=disable`;
  }

  /** One of the project's images, through its own build step. */
  async image(image: BundledImage): Promise<string> {
    const digest = bundledImageDigest(image);
    const { exitCode, stderr, result } = await this.run("build", {
      source: { kind: "bundled", image, digest },
      dockerfile: "Dockerfile",
      tag: bundledImageTag(image, digest),
    });
    if (exitCode !== 0) throw new Error(stderr);
    return result.tag;
  }

  private async createNetwork(): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      this.prefix = await freeSubnet();
      const { failed, stderr } = await execa(
        "docker",
        ["network", "create", `--subnet=${this.prefix}.0/24`, this.network],
        { reject: false },
      );
      if (!failed) return;
      // Somebody else may have got it at that moment.
      if (attempt === 20) throw new Error(stderr);
    }
  }

  async setUp(): Promise<void> {
    this.directory = await mkdtemp(join(tmpdir(), `${this.name}-`));
    await this.createNetwork();
    await this.image("ops");
    const image = await this.image("postgres");
    await docker(
      "run",
      "--detach",
      `--name=${this.postgres}`,
      `--network=${this.network}`,
      `--ip=${this.address(20)}`,
      "--tmpfs=/var/lib/postgresql/data",
      "--env",
      `POSTGRES_PASSWORD=${this.password}`,
      image,
      "-c",
      "fsync=off",
    );
    await eventually("PostgreSQL", () => this.sql("SELECT 1"));
  }

  /** By name, whatever was left. */
  async tearDown(): Promise<void> {
    await this.children.end();
    const containers = (await docker("ps", "--all", "--quiet", `--filter=name=${this.name}`))
      .split("\n")
      .filter((id) => id !== "");
    if (containers.length > 0) await docker("rm", "--force", "--volumes", ...containers);
    await execa("docker", ["network", "rm", this.network], { reject: false });
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Asks the database without any of what is being tested. */
  async sql(statement: string, database = "postgres"): Promise<string> {
    return docker(
      "exec",
      this.postgres,
      "psql",
      "-U",
      "postgres",
      "-d",
      database,
      "-v",
      "ON_ERROR_STOP=1",
      "-At",
      "-c",
      statement,
    );
  }

  /** An empty database for one test. */
  async database(name: string): Promise<string> {
    await this.sql(`CREATE DATABASE ${name}`);
    return this.url(name);
  }

  /** The container of a step that runs now. */
  stepContainer(step: StepName): Promise<string> {
    return eventually(
      `a container of ${step}`,
      async () =>
        (await docker("ps", "--filter", `name=togather-${this.name}-${step}-`, "--format", "{{.Names}}")).split(
          "\n",
        )[0] || undefined,
    );
  }

  /** Command lines of all processes on this machine, those in containers too. */
  async commandLines(): Promise<string> {
    // Others get their turn between two looks; a look itself is in one piece, and so over before a short process is.
    await setImmediate();
    const lines = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, "latin1");
        } catch {
          // It has ended meanwhile.
          return "";
        }
      });
    return lines.join("\n");
  }

  /** Everything that steps have written: state, history, logs. */
  async written(): Promise<string> {
    const texts: string[] = [];
    for (const part of ["state", "logs"]) {
      for (const file of await readdir(join(this.directory, part)).catch(() => []))
        texts.push(await readFile(join(this.directory, part, file), "utf8"));
    }
    return texts.join("\n");
  }

  async readState<T>(file: string): Promise<T> {
    return JSON.parse(await readFile(join(this.directory, "state", file), "utf8")) as T;
  }
}
