import { mkdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { bundledImageTag } from "../../ops/image.ts";
import { snapshotFormats, type SnapshotFormat } from "../../ops/contract/snapshot-format.ts";
import { docker, eventually, Harness } from "../step-harness.ts";
import { formatBytes, seconds } from "../../ops/contract/units.ts";
import { median, type Comparison } from "./report.ts";

/** Counted dumps of each kind, in turn. */
const runs = 2;
const smallestDatabase = 1024 ** 3;

/** At least this much faster than `pg_dump | gzip`. */
const targets: Readonly<Record<SnapshotFormat, number>> = { "sql.gz": 1.8, "sql.zst": 4, directory: 4 };
const largestSize = 1.1;
/** A proof reads the file once more than a restore, and counts every row. */
const slowestProof = 1.1;

const release = { version: "v1.0.0", commit: "1".repeat(40) };

/**
 * Tables like an event server's: texts of ordinary words, points and polygons, embeddings, many small rows. No index on
 * the embeddings: it takes minutes to build with any program.
 */
const tables = [
  `CREATE TABLE words AS SELECT n, (ARRAY['concert','garden','evening','children','library','street','market','reading','open','film','dance','history','walk','river','school','music','night','summer','food','art'])[1 + n % 20] || substr(md5(n::text), 1, n % 4) AS word FROM generate_series(0, 4000) n`,
  `CREATE TABLE texts AS SELECT s.n, (SELECT string_agg(word, ' ') FROM generate_series(1, 60) m JOIN words w ON w.n = (s.n::bigint * 7919 + m * m * 104729) % 4001) AS text FROM generate_series(0, 20000) s(n)`,
  `CREATE TABLE bases AS SELECT s.n, (SELECT array_agg((random() - 0.5)::real) FROM generate_series(1, 384) WHERE s.n >= 0)::vector(384) AS v FROM generate_series(0, 1500) s(n)`,
  `CREATE TABLE events (id uuid PRIMARY KEY, name text NOT NULL, description text NOT NULL, starts_at timestamptz NOT NULL, embedding vector(384))`,
  `INSERT INTO events SELECT gen_random_uuid(), left(t.text, 40), t.text, now() + s.n * interval '1 minute', a.v + b.v FROM generate_series(1, 110000) s(n) JOIN texts t ON t.n = s.n % 20001 JOIN bases a ON a.n = s.n % 1499 JOIN bases b ON b.n = (s.n / 7) % 1493`,
  `CREATE TABLE places (id uuid PRIMARY KEY, name text NOT NULL, location geography(Point, 4326) NOT NULL, area geometry(Polygon, 4326) NOT NULL)`,
  `INSERT INTO places SELECT gen_random_uuid(), 'place ' || n, ST_MakePoint(random() * 360 - 180, random() * 170 - 85)::geography, ST_Buffer(ST_SetSRID(ST_MakePoint(random() * 360 - 180, random() * 170 - 85), 4326), 0.01, 8) FROM generate_series(1, 460000) n`,
  `CREATE TABLE occurrences (id bigint PRIMARY KEY, event uuid NOT NULL, starts_at timestamptz NOT NULL, ends_at timestamptz NOT NULL)`,
  `INSERT INTO occurrences SELECT n, gen_random_uuid(), now() + n * interval '1 minute', now() + n * interval '2 minutes' FROM generate_series(1, 2000000) n`,
  `CREATE TABLE changes (id bigint PRIMARY KEY, at timestamptz NOT NULL, what text NOT NULL)`,
  `INSERT INTO changes SELECT s.n, now(), t.text FROM generate_series(1, 560000) s(n) JOIN texts t ON t.n = (s.n * 31) % 20001`,
  `DROP TABLE words, texts, bases`,
];

/** Duration of some work, in ms. */
async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const started = performance.now();
  const value = await work();
  return { ms: performance.now() - started, value };
}

class Database {
  readonly harness = new Harness();
  readonly volume = `togather-${this.harness.name}-data`;

  /** A PostgreSQL on a disk, with the settings of the bundled one. */
  async setUp(progress: (line: string) => void): Promise<number> {
    const { harness } = this;
    await harness.setUp();
    await mkdir(harness.backups);
    // The harness keeps its data in memory; this benchmark needs a disk.
    await docker("rm", "--force", "--volumes", harness.postgres);
    await docker(
      "run",
      "--detach",
      `--name=${harness.postgres}`,
      `--network=${harness.network}`,
      `--ip=${harness.address(20)}`,
      "--shm-size=256m",
      `--volume=${this.volume}:/var/lib/postgresql/data`,
      "--env",
      `POSTGRES_PASSWORD=${harness.password}`,
      bundledImageTag("postgres"),
    );
    await eventually("PostgreSQL", () => harness.sql("SELECT 1"));
    await harness.sql("CREATE DATABASE live");
    await harness.sql("CREATE EXTENSION postgis; CREATE EXTENSION vector", "live");
    for (const [index, statement] of tables.entries()) {
      const { ms } = await timed(() => harness.sql(statement, "live"));
      if (ms > 1_000)
        progress(`statement ${index + 1} of ${tables.length} of the generated database took ${seconds(ms)}`);
    }
    await harness.sql("VACUUM ANALYZE", "live");
    await harness.sql("CHECKPOINT");
    const bytes = Number(await harness.sql("SELECT pg_database_size('live')"));
    if (bytes < smallestDatabase)
      throw new Error(`the generated database has ${bytes} bytes, expected at least ${smallestDatabase}`);
    return bytes;
  }

  async tearDown(): Promise<void> {
    await this.harness.tearDown();
    await docker("volume", "rm", "--force", this.volume).catch(() => undefined);
  }

  /** A shell command in the ops image, as on a machine with PostgreSQL's clients. */
  async shell(command: string): Promise<void> {
    const { harness } = this;
    await docker(
      "run",
      "--rm",
      `--network=${harness.network}`,
      `--volume=${harness.backups}:/backups`,
      "--entrypoint=bash",
      "--env",
      `PGPASSWORD=${harness.password}`,
      "--env",
      `PGHOST=${harness.address(20)}`,
      "--env",
      "PGUSER=postgres",
      bundledImageTag("ops"),
      "-o",
      "pipefail",
      "-ec",
      command,
    );
  }

  async snapshot(format: SnapshotFormat): Promise<{ file: string; bytes: number; sha256: string }> {
    const { exitCode, stderr, result } = await this.harness.run(
      "snapshot",
      { backupLocation: this.harness.backups, retention: 100, keepVerified: 0, format, recipients: [], release },
      { DATABASE_URL: this.harness.url("live") },
    );
    if (exitCode !== 0) throw new Error(stderr);
    return { file: basename(result.file), bytes: result.bytes, sha256: result.sha256 };
  }

  async verify({ file, sha256 }: { file: string; sha256: string }): Promise<void> {
    const { exitCode, stderr } = await this.harness.run(
      "verify",
      { backupLocation: this.harness.backups, file, foreign: false, sha256, required: true },
      { DATABASE_URL: this.harness.url("live") },
    );
    if (exitCode !== 0) throw new Error(stderr);
  }
}

/**
 * Our snapshots, with all their work (counting every row, checksum, disk), against `pg_dump | gzip`; and their proof
 * (checksum, restore, counting every row again) against `gunzip | psql`.
 */
export async function benchSnapshots(progress: (line: string) => void): Promise<Comparison[]> {
  const database = new Database();
  const { harness } = database;
  try {
    progress("generating a database of 1 GB");
    progress(`it has ${formatBytes(await database.setUp(progress))}`);
    const dumped = new Map<"pg_dump" | SnapshotFormat, number[]>();
    const last = new Map<SnapshotFormat, { file: string; bytes: number; sha256: string }>();
    const note = (kind: "pg_dump" | SnapshotFormat, ms: number): void => {
      dumped.set(kind, [...(dumped.get(kind) ?? []), ms]);
    };
    for (let run = 1; run <= runs; run++) {
      const plain = await timed(() => database.shell("pg_dump live | gzip > /backups/baseline.sql.gz"));
      note("pg_dump", plain.ms);
      progress(`run ${run} of ${runs}: pg_dump | gzip ${seconds(plain.ms)}`);
      for (const format of snapshotFormats) {
        const { ms, value } = await timed(() => database.snapshot(format));
        note(format, ms);
        last.set(format, value);
        progress(`run ${run} of ${runs}: ${format} ${seconds(ms)}, ${formatBytes(value.bytes)}`);
      }
    }
    const baselineBytes = (await stat(join(harness.backups, "baseline.sql.gz"))).size;
    const restore = await timed(() =>
      database.shell(
        "createdb restored; gunzip -c /backups/baseline.sql.gz | psql -qX -v ON_ERROR_STOP=1 -d restored > /dev/null",
      ),
    );
    await harness.sql("DROP DATABASE restored");
    progress(`gunzip | psql ${seconds(restore.ms)}`);
    const comparisons: Comparison[] = [];
    const baseline = median(dumped.get("pg_dump") ?? []);
    for (const format of snapshotFormats) {
      const snapshot = last.get(format);
      if (snapshot === undefined) continue;
      const ours = median(dumped.get(format) ?? []);
      const ratio = 1 / targets[format];
      comparisons.push({
        name: `snapshot ${format} against pg_dump \\| gzip`,
        unit: "ms",
        ours,
        baseline,
        target: `<= ${ratio.toFixed(2)} (${targets[format]} times as fast)`,
        met: ours / baseline <= ratio,
      });
      comparisons.push({
        name: `size of snapshot ${format}`,
        unit: "kB",
        ours: snapshot.bytes / 1e3,
        baseline: baselineBytes / 1e3,
        target: `<= ${largestSize}`,
        met: snapshot.bytes / baselineBytes <= largestSize,
      });
      const proof = await timed(() => database.verify(snapshot));
      progress(`proof of ${format} ${seconds(proof.ms)}`);
      comparisons.push({
        name: `proof of snapshot ${format} against gunzip \\| psql`,
        unit: "ms",
        ours: proof.ms,
        baseline: restore.ms,
        target: `<= ${slowestProof}`,
        met: proof.ms / restore.ms <= slowestProof,
      });
    }
    return comparisons;
  } finally {
    await database.tearDown();
  }
}
