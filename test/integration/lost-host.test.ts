/** A Docker host that is gone, with all that it kept: its successor gets the database from the copies elsewhere. By the commands of docs/snapshots.md. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { docker, eventually } from "../step-harness.ts";
import { expectNothingToDo } from "./nothing-to-do.ts";
import { S3Storage } from "./s3-storage.ts";
import { TestStack, type Listed } from "./stack.ts";
import { argumentsOf, toldCommands } from "./told-commands.ts";

const commands = toldCommands("When the Docker host is gone");
/** Words of a command before Pulumi's own: run pulumi --. */
const npmRun = 3;

// One deployment lives through its life in order: each test starts from what the one before left.
describe("a Docker host that is gone", () => {
  const credentials = { SNAPSHOT_COPY_KEY_ID: "copykeycanary5711", SNAPSHOT_COPY_SECRET: "copysecretcanary5712" };
  let stack: TestStack;
  let storage: S3Storage | undefined;
  let network = "";

  beforeAll(async () => {
    stack = await TestStack.create();
    network = `togather-${stack.name}`;
    await stack.commitTagged("v1.0.0");
    stack.addMigration("000005_second", "CREATE TABLE second AS SELECT id FROM places;", "DROP TABLE second;");
    await stack.commitTagged("v2.0.0");
    const first = await stack.togather("release", "v1.0.0");
    expect(first.code, `${first.stdout}\n${first.stderr}`).toBe(0);
    await stack.query(
      "SET ROLE togather_owner; INSERT INTO places (name, location) SELECT 'p ' || n, 'POINT(1 2)' FROM generate_series(1, 300) n",
    );
    storage = await S3Storage.start(`${network}-s3`, network, credentials);
    stack.moreSecrets = credentials;
    stack.writeSecrets();
    stack.set({
      deployment: stack.deployment({
        database: { snapshot_copy: { endpoint: storage.endpoint, bucket: "backups", prefix: "production/" } },
      }),
    });
    const second = await stack.togather("release", "v2.0.0");
    expect(second.code, `${second.stdout}\n${second.stderr}`).toBe(0);
    expect(second.stdout).toMatch(/^copy green +ok /m);
  }, 900_000);
  afterAll(async () => {
    await storage?.remove();
    await stack.remove();
  });

  /** The next command of the story, which has to begin so. */
  function told(beginning: string, ids: Record<string, string> = {}): string[] {
    const command = commands.shift() ?? "";
    expect(command.startsWith(beginning), `the story goes on with: ${command}`).toBe(true);
    return argumentsOf(command, ids);
  }
  async function togather(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await stack.togather(...args);
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    return stdout;
  }

  it("is replaced by one with an older release and an empty database", async () => {
    await docker(
      "rm",
      "--force",
      "--volumes",
      ...["blue", "green", "router", "db"].map((part) => `${network}-${part}`),
    );
    await docker("volume", "rm", `${network}-db-data`, `${network}-router-files`);
    await docker("network", "disconnect", network, `${network}-s3`);
    await docker("network", "rm", network);
    for (const kept of ["backups", "log", "deployment"])
      rmSync(join(stack.directory, ".togather", kept), { recursive: true });

    for (const operation of ["stack rm", "stack init", "config rm"])
      await stack.pulumi(told(`npm run pulumi -- ${operation}`, { production: stack.name }).slice(npmRun));
    // The storage is elsewhere, and reached at once.
    const reachable = eventually(
      "the storage is in the new network",
      () => docker("network", "connect", network, `${network}-s3`).then(() => true),
      300,
    );
    const released = await togather(told("togather release v1.0.0"));
    await reachable;
    expect(released).toMatch(/serves v1\.0\.0/);
    expect(await stack.query("SELECT count(*) FROM places")).toBe("0");
  });

  it("has its data again, and then its newest release, with its migrations", async () => {
    const copies = JSON.parse(await togather([...told("togather snapshots list --copies"), "--json"])) as Listed[];
    const copy = copies.find(({ manifest }) => manifest.rows > 0);
    expect(
      copy?.manifest,
      JSON.stringify(copies.map(({ id, manifest }) => [id, manifest.before_version, manifest.rows])),
    ).toMatchObject({ before_version: "v2.0.0", migration_version: 4 });
    const ids = { "20260128_143022": copy?.id ?? "" };
    await togather(told("togather snapshots fetch", ids));
    await togather([...told("togather snapshots restore", ids), "--yes"]);
    expect(await stack.query("SELECT count(*), (SELECT version FROM schema_migrations) FROM places")).toBe("300|4");
    const again = await togather(told("togather release v2.0.0"));
    expect(again).toMatch(/^migrate \S+ .*schema version 4 to 5/m);
    expect(await stack.query("SELECT count(*), (SELECT count(*) FROM second) FROM places")).toBe("300|300");
    expect(await (await fetch(stack.url("/health"))).json()).toMatchObject({ status: "healthy", version: "v2.0.0" });
    expect(commands).toEqual([]);
  });

  it("is nothing that Pulumi still looks for", () => expectNothingToDo(stack));
});
