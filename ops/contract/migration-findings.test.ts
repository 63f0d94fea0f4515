import { mkdtempSync, rmSync } from "node:fs";
import { link, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, it } from "vitest";
import { migrationFiles, migrationPayload } from "../client/migrate.ts";
import { textsIn, withFile } from "../client/migration-tar.ts";
import { newMigrations } from "../client/pending-migrations.ts";
import { factsFile, factsSchema } from "./file-facts.ts";
import {
  findingsFile,
  findingsSchema,
  reviewFindings,
  type Finding,
  type Measured,
  type Waiver,
} from "./migration-findings.ts";

const directory = mkdtempSync(join(tmpdir(), "findings-test-"));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});
const { signal } = new AbortController();

describe("findings in files that are about to be applied", () => {
  const one = (file: string, level: Finding["level"]): Finding => ({
    file,
    line: 3,
    rule: "drop-table",
    level,
    what: "table a",
    why: "it is gone",
    safe: "don't",
  });
  const findings = [one("1_a.up.sql", "error"), one("2_b.up.sql", "warning"), one("3_c.up.sql", "error")];
  const todo = [{ file: "2_b.up.sql" }, { file: "3_c.up.sql" }];
  const up = ["1_a.up.sql", "2_b.up.sql", "3_c.up.sql", "4_d.up.sql"].map((file) => ({ file }));
  const review = (
    severity: "error" | "warn" | "off",
    files = todo,
    {
      waivers = [],
      measured = {},
      all = findings,
    }: { waivers?: Waiver[]; measured?: Record<string, Measured>; all?: Finding[] } = {},
  ): { warned: string[]; error: string | undefined } => {
    const warned: string[] = [];
    try {
      reviewFindings(
        { severity, findings: all, up, todo: files, waivers, measured: new Map(Object.entries(measured)) },
        { warn: (message) => warned.push(message), info: (message) => warned.push(`info ${message}`) },
      );
      return { warned, error: undefined };
    } catch (error) {
      return { warned, error: (error as Error).message };
    }
  };

  it("stop where errors do, without those of older files; warnings are shown", () => {
    const { warned, error } = review("error");
    expect(error).toBe(
      "the lint of the migrations that were to be applied has found an error; none of them was applied:\n  3_c.up.sql:3: drop-table: table a: it is gone; instead: don't",
    );
    expect(warned).toEqual([
      "migrate: the lint has found\n  2_b.up.sql:3: drop-table: table a: it is gone; instead: don't",
    ]);
  });
  it("never stop where they are warned of", () => {
    const { warned, error } = review("warn");
    expect(error).toBeUndefined();
    expect(warned).toEqual([expect.stringMatching(/2_b.up.sql:3: .*\n.*3_c.up.sql:3: /)]);
  });
  it("are nothing where the rule is off, or no file has one", () => {
    expect(review("off")).toEqual({ warned: [], error: undefined });
    expect(review("error", [{ file: "4_d.up.sql" }])).toEqual({ warned: [], error: undefined });
  });
  it("are let through where the stack file says why, one rule in one file", () => {
    const waiver = { file: "3_c.up.sql", rule: "drop-table", reason: "nobody reads it" };
    expect(review("error", todo, { waivers: [waiver] })).toEqual({
      warned: [
        "info migrate: 3_c.up.sql:3: drop-table: table a: allowed by the stack file: nobody reads it",
        expect.stringMatching(/2_b.up.sql/),
      ],
      error: undefined,
    });
    const others = [
      { ...waiver, rule: "drop-column" },
      { ...waiver, file: "9_z.up.sql" },
      { ...waiver, file: "1_a.up.sql" },
    ];
    const { warned, error } = review("error", todo, { waivers: others });
    expect(error).toContain("3_c.up.sql:3: drop-table");
    // The entry of an older file is still of use: the file was applied with it.
    expect(warned.filter((line) => line.includes("allow"))).toEqual([
      "migrate: togather:migrations.allow names 3_c.up.sql with drop-column, but the lint doesn't find that there: take it out",
      "migrate: togather:migrations.allow names 9_z.up.sql with drop-table, but there is no such file: take it out",
    ]);
  });
  it("that are about locks go by what the rehearsal has measured, and no others", () => {
    const lock = (rule: string): Finding => ({
      ...one("3_c.up.sql", "error"),
      rule,
      lock: true,
      why: "nothing can be written",
    });
    const measured = (over: Partial<Measured> = {}): Record<string, Measured> => ({
      "3_c.up.sql": { heldMs: 12, durationMs: 90, lostUnique: [], ...over },
    });
    const index = [lock("blocking-index")];
    expect(review("error", todo, { all: index }).error).toContain("blocking-index");
    expect(review("error", todo, { all: index, measured: measured() })).toEqual({
      warned: [
        "migrate: the lint has found\n  3_c.up.sql:3: blocking-index: table a: nothing can be written (for 12 ms on a copy of the data, which is let through); instead: don't",
      ],
      error: undefined,
    });
    expect(review("error", todo, { all: index, measured: measured({ heldMs: 4_200 }) }).error).toContain(
      "nothing can be written (for 4.2 s on a copy of the data)",
    );
    expect(
      review("error", todo, { all: index, measured: { "2_b.up.sql": { heldMs: 1, durationMs: 1, lostUnique: [] } } })
        .error,
    ).toContain("blocking-index");
    // Row locks are not watched: the file's duration counts.
    expect(
      review("error", todo, { all: [lock("backfill")], measured: measured({ durationMs: 3_000 }) }).error,
    ).toContain("backfill");
    expect(
      review("error", todo, { all: [lock("drop-index-blocking")], measured: measured({ lostUnique: ["a_key"] }) })
        .error,
    ).toContain("a_key was unique: an ON CONFLICT of the release that serves fails without it");
    expect(review("error", todo, { measured: measured() }).error).toContain("drop-table");
  });
  it("of warnings alone don't stop anything", () => {
    expect(review("error", [{ file: "2_b.up.sql" }])).toMatchObject({ warned: [expect.any(String)], error: undefined });
  });
});

describe("the migrations' tar", () => {
  const path = "db/migrations";
  const tree = { kind: "tree", repository: directory, digest: "tree-0", path } as const;

  it("is read where it is, and carries the findings in front, as tar itself unpacks it", async () => {
    await mkdir(join(directory, path, "deeper"), { recursive: true });
    const texts = {
      "1_a.up.sql": "CREATE TABLE a ();",
      "1_a.down.sql": "DROP TABLE a;",
      "2_b.up.sql": `${"-- ü\n".repeat(300)}DROP TABLE z;`,
    };
    for (const [name, text] of Object.entries(texts)) await writeFile(join(directory, path, name), text);
    await writeFile(join(directory, path, "deeper", "3_c.up.sql"), "boom");

    expect(Object.fromEntries(await textsIn(await migrationFiles(tree, signal), tree))).toEqual(texts);
    expect(
      Object.fromEntries(
        await textsIn(await migrationFiles({ ...tree, path: `./${path}/` }, signal), { ...tree, path: `./${path}/` }),
      ),
    ).toEqual(texts);
    const payload = await migrationPayload({ source: tree, lint: "error" }, signal);
    const unpacked = join(directory, "unpacked");
    await mkdir(unpacked);
    await execa("tar", ["--extract", `--directory=${unpacked}`], { input: payload });
    expect(await readFile(join(unpacked, path, "2_b.up.sql"), "utf8")).toBe(texts["2_b.up.sql"]);
    const findings = findingsSchema.parse(JSON.parse(await readFile(join(unpacked, findingsFile), "utf8")));
    expect(findings.map(({ file, line, rule }) => `${file}:${line} ${rule}`)).toEqual([
      "2_b.up.sql:1 missing-down",
      "2_b.up.sql:301 drop-table",
    ]);
    const facts = factsSchema.parse(JSON.parse(await readFile(join(unpacked, factsFile), "utf8")));
    expect(Object.entries(facts).map(([file, known]) => [file, known?.oneTransaction, known?.lines])).toEqual([
      ["1_a.up.sql", true, [1]],
      ["2_b.up.sql", true, [301]],
    ]);
    const { stdout } = await execa("tar", ["--list"], {
      input: await migrationPayload({ source: tree, lint: "off" }, signal),
    });
    expect(stdout.split("\n").filter((name) => !name.startsWith(path))).toEqual([factsFile]);
  });

  it("is read through links to files beside them", async () => {
    const linked = { ...tree, path: "linked/migrations" };
    await mkdir(join(directory, linked.path), { recursive: true });
    await writeFile(join(directory, linked.path, "table.sql"), "DROP TABLE z;");
    await symlink("table.sql", join(directory, linked.path, "1_a.up.sql"));
    await link(join(directory, linked.path, "table.sql"), join(directory, linked.path, "2_b.up.sql"));
    await symlink("../elsewhere.sql", join(directory, linked.path, "3_c.up.sql"));
    const texts = await textsIn(await migrationFiles(linked, signal), linked);
    expect([texts.get("1_a.up.sql"), texts.get("2_b.up.sql"), texts.get("3_c.up.sql")]).toEqual([
      "DROP TABLE z;",
      "DROP TABLE z;",
      undefined,
    ]);
  });

  it("takes a file whose size is a whole number of blocks, or nothing", async () => {
    const tar = await migrationFiles(tree, signal);
    for (const size of [0, 511, 512, 513]) {
      const { stdout } = await execa("tar", ["--list"], { input: withFile(tar, "first", "x".repeat(size)) });
      expect(stdout.split("\n").slice(0, 2)).toEqual(["first", `${path}/`]);
    }
  });

  it("of a commit has the commit's files, and two commits tell which are new", async () => {
    const repository = join(directory, "repository");
    await mkdir(join(repository, path), { recursive: true });
    const git = (...args: string[]): Promise<{ stdout: string }> =>
      execa("git", ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args]);
    await git("init", "--quiet");
    const commit = async (name: string): Promise<string> => {
      await writeFile(join(repository, path, name), "SELECT 1;");
      await git("add", ".");
      await git("commit", "--quiet", "--message=one");
      return (await git("rev-parse", "HEAD")).stdout;
    };
    const [first, second] = [await commit("1_a.up.sql"), await commit("2_b.up.sql")];
    const of = { kind: "commit", repository, commit: first, path } as const;
    expect([...(await textsIn(await migrationFiles(of, signal), of)).keys()]).toEqual(["1_a.up.sql"]);
    const source = (id: string) => ({ repository, commit: id, path });
    expect(await newMigrations(source(second), source(first))).toEqual(["2_b.up.sql"]);
    expect(await newMigrations(source(first), source(second))).toEqual([]);
    expect(await newMigrations(source(second), source("0".repeat(40)))).toBeUndefined();
  });
});
