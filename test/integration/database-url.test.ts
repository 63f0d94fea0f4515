/** One DATABASE_URL, whoever reads it: libpq, node's pg and pgx, in golang-migrate and in River's migrations. */
import { execa } from "execa";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  clientConfig,
  connectionEnvironment,
  normalizeDatabaseUrl,
  parseDatabaseUrl,
  withDatabaseName,
} from "../../ops/contract/connection.ts";
import { bundledImageTag } from "../../ops/image.ts";
import { Harness } from "../step-harness.ts";

const harness = new Harness();
beforeAll(async () => {
  await harness.setUp();
  for (const name of ["live", "elsewhere", "scratch"]) await harness.database(name);
});
afterAll(() => harness.tearDown());

/** A program of the ops image, with its secrets by variable. */
async function program(command: readonly string[], environment: Record<string, string>): Promise<string> {
  const [entrypoint = "", ...args] = command;
  const names = Object.keys(environment).flatMap((name) => ["--env", name]);
  const { stdout } = await execa(
    "docker",
    [
      "run",
      "--rm",
      `--network=${harness.network}`,
      ...names,
      `--entrypoint=${entrypoint}`,
      bundledImageTag("ops"),
      ...args,
    ],
    { env: environment, stdin: "ignore" },
  );
  return stdout;
}

const riverTables = (database: string): Promise<string> =>
  harness.sql("SELECT count(*) FROM pg_class WHERE relname = 'river_migration'", database);

it("that names its database by a parameter reaches the one that is meant, in every client", async () => {
  const written = harness.url("elsewhere").replace("?", "?dbname=live&");
  const connection = parseDatabaseUrl(written);
  const ask = "SELECT current_database()";
  expect(await program(["psql", "-XAt", "-c", ask], connectionEnvironment(connection, "test"))).toBe("live");
  const client = new pg.Client(clientConfig(connection, "test"));
  await client.connect();
  expect((await client.query(ask)).rows).toEqual([{ current_database: "live" }]);
  await client.end();
  await program(["river-migrate"], { DATABASE_URL: normalizeDatabaseUrl(written) });
  expect([await riverTables("live"), await riverTables("elsewhere")]).toEqual(["1", "0"]);
});

it("leads a rehearsal's programs to the copy, and not to the database that a parameter names", async () => {
  const copy = withDatabaseName(harness.url("elsewhere").replace("?", "?dbname=elsewhere&"), "scratch");
  await program(["river-migrate"], { DATABASE_URL: copy });
  expect([await riverTables("scratch"), await riverTables("elsewhere")]).toEqual(["1", "0"]);
  const said = await program(
    [
      "sh",
      "-c",
      "mkdir /tmp/m && echo 'CREATE TABLE here (id int);' > /tmp/m/1_a.up.sql && migrate -path /tmp/m -database pgx5:///scratch up 2>&1",
    ],
    connectionEnvironment(
      { ...parseDatabaseUrl(harness.url("elsewhere").replace("?", "?dbname=elsewhere&")), database: "scratch" },
      "test",
    ),
  );
  expect(said).toContain("1/u a");
  expect(await harness.sql("SELECT to_regclass('here') IS NOT NULL", "scratch")).toBe("t");
  expect(await harness.sql("SELECT to_regclass('here') IS NOT NULL", "elsewhere")).toBe("f");
});
