import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Problem } from "../../toolchain/problem.ts";
import { run, tail } from "../../toolchain/run.ts";
import { project } from "../../toolchain/setup.ts";

const START_LIMIT = 60_000;

/** A PostgreSQL of the project's own image, for tests only. */
export interface ScratchPostgres {
  /** Its container: tests that run in one can share its network. */
  container: string;
  /** Superuser DSN of one of its databases, from this machine. */
  url: (database: string) => string;
  /** The same from the container's own network. */
  urlInside: (database: string) => string;
}

async function docker(...args: string[]): Promise<string> {
  const { ok, stdout, output } = await run("docker", args, { env: process.env });
  if (!ok) throw new Problem(`docker ${args[0] ?? ""} failed:\n${tail(output)}`);
  return stdout;
}

/** Does `work` with a PostgreSQL that has these databases, empty; removes it afterwards, whatever happens. @param show takes what is to be read. */
export async function withScratchPostgres<T>(
  databases: readonly string[],
  show: (text: string) => unknown,
  work: (postgres: ScratchPostgres) => Promise<T>,
): Promise<T> {
  show("Building the PostgreSQL image and starting a scratch database ...\n");
  const image = await docker("build", "--quiet", join(project, "images", "postgres"));
  const container = `togather-test-go-${randomBytes(4).toString("hex")}`;
  const password = randomBytes(16).toString("hex");
  try {
    await docker(
      "run",
      "--detach",
      "--name",
      container,
      "--env",
      `POSTGRES_PASSWORD=${password}`,
      "--publish",
      "127.0.0.1::5432",
      image,
    );
    const psql = (sql: string) =>
      run("docker", ["exec", "--user", "postgres", container, "psql", "-XAtc", sql], { env: process.env });
    const deadline = Date.now() + START_LIMIT;
    while (!(await psql("select 1")).ok) {
      if (Date.now() > deadline)
        throw new Problem(`The scratch database does not start:\n${tail(await docker("logs", container))}`);
      await sleep(200);
    }
    for (const database of databases) await psql(`create database ${database}`);
    const address = (await docker("port", container, "5432/tcp")).split("\n")[0] ?? "";
    const url = (host: string) => (database: string) =>
      `postgres://postgres:${password}@${host}/${database}?sslmode=disable`;
    return await work({ container, url: url(address), urlInside: url("127.0.0.1:5432") });
  } finally {
    await run("docker", ["rm", "--force", "--volumes", container], { env: process.env });
  }
}
