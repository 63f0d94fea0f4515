/** The recovery story of docs/snapshots.md, with its own commands, against a deployment. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../cli/exit-codes.ts";
import { hostLockHolder, lockFile } from "../../ops/host/host-lock.ts";
import { expectNothingToDo } from "./nothing-to-do.ts";
import { TestStack } from "./stack.ts";
import { argumentsOf, toldCommands } from "./told-commands.ts";

/** The commands of the story that have not been run yet, in order. */
const commands = [
  "List and prove",
  "Take one now",
  "Undo a release with its database",
  "Put a snapshot in the place of the database",
  "The replaced database",
].flatMap(toldCommands);

// One deployment of production lives through its life in order: each test starts from what the one before left.
describe("the recovery story", () => {
  let stack: TestStack;

  beforeAll(async () => {
    stack = await TestStack.create("production");
    await stack.commitTagged("v1.0.0");
    stack.addMigration(
      "000005_extra",
      "CREATE TABLE extra (id int); INSERT INTO extra VALUES (1);",
      "DROP TABLE extra;",
    );
    await stack.commitTagged("v2.0.0");
  });
  afterAll(() => stack.remove());

  /** Runs the story's next command that begins so, with this deployment's own ids. */
  async function told(
    beginning: string,
    ids: Record<string, string> = {},
    ...more: string[]
  ): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
    const index = commands.findIndex((command) => command.startsWith(`togather ${beginning}`));
    if (index === -1) throw new Error(`docs/snapshots.md does not say togather ${beginning}`);
    const [command = ""] = commands.splice(index, 1);
    return stack.togather(...argumentsOf(command, ids), ...more);
  }
  const health = async (): Promise<{ status: number; slot: string | null; body: string }> => {
    const { status, slot, body } = await stack.secureGet("/health");
    return { status, slot: slot ?? null, body: JSON.stringify(body) };
  };
  const places = (): Promise<string> => stack.query("SELECT count(*) FROM places");
  const addPlaces = (count: number): Promise<string> =>
    stack.query(
      `SET ROLE togather_owner; INSERT INTO places (name, location) SELECT 'p ' || n, 'POINT(1 2)' FROM generate_series(1, ${count}) n`,
    );

  it("begins with a release whose snapshot is verified", async () => {
    const first = await stack.togather("release", "v1.0.0");
    expect(first.code, `${first.stdout}\n${first.stderr}`).toBe(0);
    expect(first.stdout).toMatch(/^rehearse blue +ok .*nothing to rehearse; 0 rows restored/m);
    await addPlaces(20);
    const second = await stack.togather("release", "v2.0.0");
    expect(second.code, `${second.stdout}\n${second.stderr}`).toBe(0);
    expect(second.stdout).toMatch(/^migrate green .*schema version 4 to 5/m);
    const [newest, oldest] = await stack.snapshots();
    expect(newest?.manifest).toMatchObject({
      before_version: "v2.0.0",
      migration_version: 4,
      verified_at: expect.any(String) as unknown,
    });
    expect(newest?.manifest.tables["public.places"]).toBe(20);
    expect(oldest?.manifest).toMatchObject({ before_version: "v1.0.0", migration_version: null });
    await addPlaces(5);
    expect((await health()).slot).toBe("green");
  });

  it("shows and proves a snapshot", async () => {
    const listed = await told("snapshots list");
    expect(listed.code, listed.stderr).toBe(0);
    expect(listed.stdout).toMatch(/v2\.0\.0 +4 +[\d.]+ kB +\d+ +verified /);
    const verified = await told("snapshots verify");
    expect(verified.code, `${verified.stdout}\n${verified.stderr}`).toBe(0);
    expect(verified.stdout).toMatch(/restores: \d+ rows in \d+ tables, as its manifest says/);
  });

  it("changes nothing without a yes, a lock or a schema that fits", async () => {
    const asked = await stack.togather("rollback", "--restore-database");
    expect(asked.code).toBe(exitCodes.config.code);
    expect(asked.stderr).toMatch(/There is no terminal to ask on\. Nothing was changed\.\n {2}→ the same with --yes/);
    expect(asked.stdout).toMatch(/public\.places +20 +25 +5/);
    expect(asked.stdout).toMatch(/public\.extra +no table +1 +1/);

    const other = spawn("flock", [lockFile(stack.name), "sh", "-c", "echo held; cat"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    await once(other.stdout, "data");
    const locked = await stack.togather("snapshots", "restore", "latest", "--yes");
    other.stdin.end();
    await once(other, "close");
    expect(locked.code, locked.stderr).toBe(exitCodes.lock.code);

    const tooOld = await stack.togather("snapshots", "restore", "latest", "--yes");
    expect(tooOld.code).toBe(exitCodes.config.code);
    expect(tooOld.stderr).toMatch(
      /v2\.0\.0 .* serves and needs schema version 5, the snapshot has 4.*\n.*rollback --restore-database/,
    );
    expect(await places()).toBe("25");
    expect((await health()).slot).toBe("green");
  });

  it("goes back with the database", async () => {
    const running = told("rollback --restore-database", {}, "--yes");
    let over = false;
    void running.finally(() => {
      over = true;
    });
    // The holder of the deployment's lock, from the first look until the end of all parts.
    const holders: (string | undefined)[] = [];
    while (!over) {
      holders.push((await hostLockHolder(stack.name, ""))?.lock_id);
      await sleep(50);
    }
    const { code, stdout, stderr } = await running;
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    const held = holders.slice(
      holders.findIndex((id) => id !== undefined),
      holders.findLastIndex((id) => id !== undefined) + 1,
    );
    expect(held.length).toBeGreaterThan(20);
    expect(new Set(held).size).toBe(1);
    expect(stdout).toMatch(/First traffic, then the database; then green is emptied/);
    const [snapshot] = await stack.snapshots();
    for (const [table, rows] of Object.entries(snapshot?.manifest.tables ?? {})) {
      // The job queue works again already.
      if (!table.startsWith("public.river_"))
        expect(await stack.query(`SELECT count(*) FROM ${table}`), table).toBe(String(rows));
    }
    expect(await stack.query("SELECT to_regclass('extra') IS NULL, (SELECT version FROM schema_migrations)")).toBe(
      "t|4",
    );
    expect(await health()).toMatchObject({ status: 200, slot: "blue" });
    expect((await stack.containers()).has(`togather-${stack.name}-green`)).toBe(false);
    // The servers have lost their connections, and perhaps the leader of their job queue with the other slot: no reason to be degraded.
    expect(JSON.parse((await stack.togather("status", "--json")).stdout)).toMatchObject({
      serving: { slot: "blue", health: { status: "healthy", version: "v1.0.0" } },
      drift: [],
    });
    expect(JSON.parse((await health()).body)).toMatchObject({ jobs: "operational" });
  });

  it("goes no further back when it is run again", async () => {
    const before = await stack.query("SELECT oid FROM pg_database WHERE datname = 'togather'");
    for (const options of [["--restore-database", "--yes"], []]) {
      const { code, stdout, stderr } = await stack.togather("rollback", ...options);
      expect(code, `${stdout}\n${stderr}`).toBe(0);
      expect(stdout).toMatch(/No release to roll back: blue serves v1\.0\.0 .* since v2\.0\.0 .* was given up/);
    }
    expect(await stack.query("SELECT oid FROM pg_database WHERE datname = 'togather'")).toBe(before);
    expect((await health()).slot).toBe("blue");
  });

  it("leaves Pulumi nothing to do", () => expectNothingToDo(stack));

  it("takes one between releases, proved, with its reason in the list", async () => {
    const before = await stack.snapshots();
    const other = spawn("flock", [lockFile(stack.name), "sh", "-c", "echo held; cat"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    await once(other.stdout, "data");
    const locked = await stack.togather("snapshots", "create");
    other.stdin.end();
    await once(other, "close");
    expect(locked.code, locked.stderr).toBe(exitCodes.lock.code);
    expect((await stack.togather("snapshots", "create", "--reason", " ")).code).toBe(exitCodes.config.code);
    expect(await stack.snapshots()).toHaveLength(before.length);

    const created = await told("snapshots create");
    expect(created.code, `${created.stdout}\n${created.stderr}`).toBe(0);
    expect(created.stdout).toMatch(/^\d{8}_\d{6} is in .*schema version 4 .*\nIt restores: \d+ rows in \d+ tables/m);
    const [newest, ...older] = await stack.snapshots();
    expect(older).toHaveLength(before.length);
    expect(newest?.manifest).toMatchObject({
      before_version: "v1.0.0",
      migration_version: 4,
      verified_at: expect.any(String) as unknown,
    });
    expect((await stack.togather("snapshots", "list")).stdout).toMatch(
      /verified .*; while v1\.0\.0 served: before the import$/m,
    );
    expect(await health()).toMatchObject({ status: 200, slot: "blue" });
    // Of the database as it is, so that a restore says what was written since then.
    const asked = await stack.togather("snapshots", "restore", "latest");
    expect(asked.stdout).toMatch(/while v1\.0\.0 served \(before the import\), has .*\n/);
  });

  it("restores a snapshot under what serves, and drops what it replaced", async () => {
    await addPlaces(3);
    const [snapshot] = await stack.snapshots();
    const restored = await told("snapshots restore", { "20260128_143022": snapshot?.id ?? "" }, "--yes");
    expect(restored.code, `${restored.stdout}\n${restored.stderr}`).toBe(0);
    expect(restored.stdout).toMatch(/what serves is healthy/);
    expect(await places()).toBe("20");
    const [, replaced = ""] = /kept as (togather_before_\d{8}_\d{6})/.exec(restored.stdout) ?? [];
    expect(
      await told("snapshots discard togather", { togather_before_20260128_150102: replaced }, "--yes"),
    ).toMatchObject({ code: 0, stdout: expect.stringContaining(`${replaced} is dropped`) as unknown });
    expect((await told("snapshots discard")).stdout).toMatch(/togather_before_/);
    expect(await health()).toMatchObject({ status: 200, slot: "blue" });
  });

  it("goes on with the next release, whose migrations run again", async () => {
    const { code, stdout, stderr } = await stack.togather("release", "v2.0.0");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    // It has served there before, and was taken out on purpose.
    expect(stdout).toMatch(/: green gets v2\.0\.0 \(\w+\); traffic moves blue to green\n(?!A container)/);
    expect(stdout).toMatch(/^migrate green .*schema version 4 to 5/m);
    expect(commands.filter((command) => command.startsWith("togather "))).toEqual([]);
  });

  it("runs the migrations of the idle release again after a restore has undone them", async () => {
    expect((await stack.togather("rollback")).code).toBe(0);
    const older = (await stack.snapshots()).find(({ manifest }) => manifest.migration_version === 4);
    const restored = await stack.togather("snapshots", "restore", older?.id ?? "", "--yes");
    expect(restored.code, `${restored.stdout}\n${restored.stderr}`).toBe(0);
    expect(restored.stdout).toMatch(/then green is emptied, and releasing it again runs them again/);
    expect((await stack.containers()).has(`togather-${stack.name}-green`)).toBe(false);
    expect(await health()).toMatchObject({ status: 200, slot: "blue" });
    const again = await stack.togather("release", "v2.0.0");
    expect(again.code, `${again.stdout}\n${again.stderr}`).toBe(0);
    expect(again.stdout).toMatch(/^migrate green .*schema version 4 to 5/m);
    expect(await stack.query("SELECT to_regclass('extra') IS NULL, (SELECT version FROM schema_migrations)")).toBe(
      "f|5",
    );
  });

  it("tells no secret", async () => {
    const texts = [
      await stack.state(),
      (await stack.togather("logs", "--json")).stdout,
      (await stack.togather("snapshots", "list", "--json")).stdout,
    ];
    for (const canary of Object.values<string>({ ...stack.canaries }))
      expect(texts.some((text) => text.includes(canary))).toBe(false);
  });
});
