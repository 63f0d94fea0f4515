/** Copies of snapshots in an S3-compatible storage: a real server, that stands beside the database. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StepRequest } from "../../ops/contract/steps.ts";
import { manifestName, snapshotFormats } from "../../ops/contract/snapshot-format.ts";
import { eventually, Harness, type Outcome } from "../step-harness.ts";
import { S3Storage } from "./s3-storage.ts";

const harness = new Harness();
let storage: S3Storage;
const credentials = { SNAPSHOT_COPY_KEY_ID: "copy-key-canary-1", SNAPSHOT_COPY_SECRET: "copy-secret-canary-2" };
const release = { version: "v2.0.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };

beforeAll(async () => {
  await harness.setUp();
  await mkdir(harness.backups);
  await harness.image("nginx");
  storage = await S3Storage.start(`togather-${harness.name}-s3`, harness.network, credentials);
  await harness.sql("CREATE DATABASE live");
  await harness.sql("CREATE TABLE events AS SELECT n, md5(n::text) AS name FROM generate_series(1, 20000) n", "live");
}, 900_000);
afterAll(() => harness.tearDown());

async function snapshot(format: (typeof snapshotFormats)[number]): Promise<{ file: string; sha256: string }> {
  const { exitCode, stderr, result } = await harness.run(
    "snapshot",
    { backupLocation: harness.backups, retention: 20, keepVerified: 2, format, recipients: [], release },
    { DATABASE_URL: harness.url("live") },
  );
  expect(exitCode, stderr).toBe(0);
  return { file: basename(result.file), sha256: result.sha256 };
}
/** The places of snapshots and their copies. */
const place = (): Pick<StepRequest<"fetch">, "backupLocation" | "endpoint" | "region" | "bucket" | "prefix"> => ({
  backupLocation: harness.backups,
  endpoint: storage.endpoint,
  region: "us-east-1",
  bucket: "backups",
  prefix: "production/",
});
function copy(
  of: { file: string; sha256: string },
  over: Partial<StepRequest<"copy">> = {},
  environment = credentials,
): Promise<Outcome<"copy">> {
  return harness.run("copy", { ...place(), ...of, failure: "error", ...over }, environment);
}
function bring(file: string | null, over: Partial<StepRequest<"fetch">> = {}): Promise<Outcome<"fetch">> {
  return harness.run("fetch", { ...place(), file, ...over }, credentials);
}

describe("a copy", () => {
  it.each(snapshotFormats)(
    "of a snapshot in the format %s is what is on the host, with its manifest, and is made once",
    async (format) => {
      const taken = await snapshot(format);
      const { exitCode, stderr, result } = await copy(taken);
      expect(exitCode, stderr).toBe(0);
      expect(result.copied).toBe(`${storage.endpoint}/backups/production/${taken.file}`);
      const path = join(harness.backups, taken.file);
      const files = (await stat(path)).isDirectory()
        ? (await readdir(path)).map((name) => `${taken.file}/${name}`)
        : [taken.file];
      for (const file of [...files, manifestName(taken.file)]) {
        const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
        expect(digest(await storage.read(`production/${file}`)), file).toBe(
          digest(await readFile(join(harness.backups, file))),
        );
      }
      const written = (): Promise<string> =>
        storage.inside("stat", "--format=%Y %i", `/data/backups/production/${files[0] ?? ""}`);
      const before = await written();
      expect((await copy(taken)).exitCode).toBe(0);
      expect(await written()).toBe(before);
    },
  );

  it("that the storage refuses is an error or a warning, with what to check", async () => {
    const taken = await snapshot("sql.gz");
    const wrong = await copy(taken, {}, { ...credentials, SNAPSHOT_COPY_SECRET: "copy-secret-canary-3" });
    expect([wrong.exitCode, wrong.stderr]).toEqual([
      1,
      expect.stringMatching(
        /is not copied to http:\S+\/backups: .*(SignatureDoesNotMatch|403|Forbidden)[\s\S]*check database\.snapshot_copy, SNAPSHOT_COPY_KEY_ID/,
      ),
    ]);
    const nowhere = await copy(taken, { bucket: "nowhere", failure: "warn" });
    expect(nowhere.exitCode, nowhere.stderr).toBe(0);
    expect(nowhere.result).toMatchObject({
      copied: null,
      reason: expect.stringMatching(/NoSuchBucket|404|Not Found/i) as unknown,
    });
    expect(nowhere.stderr).toMatch(/WARN .*is not copied to/);
  });

  it("goes on where a storage that was gone has left off", async () => {
    const taken = await snapshot("sql.zst");
    await storage.stop();
    const gone = await copy(taken);
    expect(gone.exitCode, gone.stderr).toBe(1);
    await storage.restart();
    await eventually("the storage answers", async () => (await copy(taken)).exitCode === 0, 30);
    expect(await storage.inside("ls", "/data/backups/production")).toContain(taken.file);
  });

  it.each(snapshotFormats)(
    "of a snapshot in the format %s comes back as it was, and not at all when it has been spoiled there",
    async (format) => {
      const taken = await snapshot(format);
      expect((await copy(taken)).exitCode).toBe(0);
      const { file } = taken;
      const names = async (): Promise<string[]> =>
        (await readdir(harness.backups, { recursive: true }))
          .filter((name) => name.startsWith(file.replace(/\..*/, "")))
          .sort();
      const before = await names();
      expect((await bring(file)).result).toMatchObject({ fetched: false });
      await rm(join(harness.backups, file), { recursive: true });
      await rm(join(harness.backups, manifestName(file)));

      const spoiled = `/data/backups/production/${format === "directory" ? `${file}/toc.dat` : file}`;
      await storage.inside("cp", spoiled, "/tmp/whole");
      await storage.inside("truncate", "--size=-10", spoiled);
      const cut = await bring(file);
      expect([cut.exitCode, cut.stderr]).toEqual([
        1,
        expect.stringMatching(/is truncated|is corrupt|corrupted on transfer|unexpected EOF/) as unknown,
      ]);
      expect(await names()).toEqual([]);
      await storage.inside("cp", "/tmp/whole", spoiled);

      const fetched = await bring(file);
      expect(fetched.exitCode, fetched.stderr).toBe(0);
      expect(fetched.result).toMatchObject({ fetched: true, copies: [{ file }] });
      expect(await names()).toEqual(before);
      const verified = await harness.run(
        "verify",
        { backupLocation: harness.backups, file, foreign: false, sha256: null, required: true },
        { DATABASE_URL: harness.url("live"), DATABASE_ADMIN_URL: harness.url() },
      );
      expect(verified.exitCode, verified.stderr).toBe(0);
    },
  );

  it("that is not there is told from a bucket that is not there, and from none at all", async () => {
    expect((await bring(null, { prefix: "nothing/here/" })).result).toMatchObject({ copies: [], fetched: false });
    expect((await bring(null, { bucket: "nowhere" })).stderr).toMatch(
      /nothing can be read from \S+\/nowhere: there is no such bucket\n.*check database\.snapshot_copy/,
    );
    expect((await bring("togather_other_20260101_000000.sql.gz")).stderr).toMatch(
      /there is no copy of togather_other_20260101_000000\.sql\.gz in .*\n.*list --copies/,
    );
    expect((await bring("../etc/passwd")).stderr).toMatch(/has no name of a snapshot/);
  });

  it("has its credentials on no command line, in no log and no state", async () => {
    await harness.sql(
      "CREATE TABLE more AS SELECT decode(string_agg(md5(random()::text || n || m), ''), 'hex') AS b FROM generate_series(1, 40) n, generate_series(1, 16000) m GROUP BY n",
      "live",
    );
    const copying = copy(await snapshot("sql.gz"));
    const seen: string[] = [];
    const ended = copying.then(() => true);
    while ((await Promise.race([ended, harness.commandLines().then((lines) => void seen.push(lines))])) !== true);
    expect((await copying).exitCode).toBe(0);
    expect(seen.some((lines) => lines.includes("rclone\0copyto"))).toBe(true);
    const { stdout, stderr } = await copying;
    for (const secret of [...Object.values(credentials), "copy-secret-canary-3"]) {
      for (const lines of seen) expect(lines).not.toContain(secret);
      expect(stdout + stderr + (await harness.written())).not.toContain(secret);
    }
  });
});
