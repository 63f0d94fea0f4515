import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { parseDatabaseUrl, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import { gateCheckNames, type StepRequest, type StepResult } from "../../contract/steps.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { isMigrating } from "../migrations/migration-lock.ts";
import { allPass, judge, type HttpObservation, type SqlObservation, type Verdicts } from "../release/gate-checks.ts";
import { connect, describeDatabase, readSchemaVersion } from "../database/sql.ts";
import { seconds } from "../../contract/units.ts";

/** Pause between two polls of a server that is starting, in ms. */
const pollMs = 250;
/** Longest wait for one answer of the health endpoint or the database, in ms. */
const answerMs = 5_000;
const progressMs = 2_000;
/**
 * Number of equal answers in a row after which waiting is pointless: another release answers (a container's image
 * doesn't change), or the schema is wrong and nobody migrates any more.
 */
const finalAnswers = 8;

/** Explains a connection error of a server that has not started. */
function describeFetchError(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
  if (code === "ECONNREFUSED") return "nothing listens yet (connection refused)";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "no container has this address yet (host unreachable)";
  if (error instanceof Error && error.name === "TimeoutError") return `no answer within ${answerMs / 1000} s`;
  return messageOf(cause);
}

async function observeHttp(url: string, signal: AbortSignal): Promise<HttpObservation> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
      redirect: "manual",
      headers: { connection: "close" },
    });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    return { error: describeFetchError(error) };
  }
}

/** A missing table, column or right: nobody adds it while a gate waits. */
const isLasting = (error: unknown): boolean =>
  error instanceof Error && "code" in error && /^42(P01|703|501)$/.test(String(error.code));

/** Observes the database through its own connection, which it keeps between attempts. */
class DatabaseObserver {
  private client: pg.Client | undefined;
  private readonly connection: Connection;

  constructor(url: string | undefined) {
    this.connection = parseDatabaseUrl(url);
  }

  async observe(): Promise<SqlObservation> {
    try {
      this.client ??= await connect(this.connection, "togather-gate");
      await this.client.query(`SET statement_timeout = ${answerMs}`);
      const schema = await readSchemaVersion(this.client);
      const migrating = schema.dirty && (await isMigrating(this.client));
      return await this.observeJobs(this.client, schema, migrating);
    } catch (error) {
      await this.close();
      return { error: `no answer from ${describeDatabase(this.connection)}: ${messageOf(error)}` };
    }
  }

  /** River works when its tables exist and can be read. The other slot may be the leader or run the jobs. */
  private async observeJobs(
    client: pg.Client,
    schema: { version: number | null; dirty: boolean },
    migrating: boolean,
  ): Promise<SqlObservation> {
    const { rows } = await client.query<{ there: boolean }>(
      "SELECT to_regclass('river_job') IS NOT NULL AND to_regclass('river_leader') IS NOT NULL AS there",
    );
    if (rows[0]?.there !== true) return { schema, jobs: "no tables", migrating };
    try {
      await client.query("SELECT id FROM river_job LIMIT 1");
      await client.query("SELECT leader_id FROM river_leader LIMIT 1");
      return { schema, jobs: "works", migrating };
    } catch (error) {
      return { error: `River's tables can't be read: ${messageOf(error)}`, jobsError: true, lasting: isLasting(error) };
    }
  }

  async close(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    await client?.end().catch(() => undefined);
  }
}

/** Whether the schema's only problem is that the release's migrations have not been run. */
const isBehind = (seen: SqlObservation, expected: number | null): boolean =>
  "schema" in seen && !seen.schema.dirty && expected !== null && (seen.schema.version ?? 0) < expected;

function summary(verdicts: Verdicts, status: "fail" | "warn"): string {
  return gateCheckNames
    .filter((name) => verdicts[name].status === status)
    .map((name) => `${name}: ${verdicts[name].detail}`)
    .join("; ");
}

/** Passes a slot when all four checks pass at once: database, migrations, HTTP, jobs. */
export async function run(request: StepRequest<"gate">, context: StepContext): Promise<StepResult<"gate">> {
  const { slot, release, containerName, retries, intervalSeconds, graceSeconds, expectedMigration } = request;
  const { log, signal, env } = context;
  const url = new URL(request.healthPath, request.url).href;
  const database = new DatabaseObserver(env["DATABASE_URL"]);
  const started = performance.now();
  const elapsed = (): number => performance.now() - started;
  log.info(`${slot}: waiting for ${release.version} at ${url}`);

  let attempts = 0;
  let counted = 0;
  let final = 0;
  let nextProgress = progressMs;
  try {
    for (;;) {
      signal.throwIfAborted();
      const attemptStarted = elapsed();
      const inGrace = attemptStarted < graceSeconds * 1000;
      attempts += 1;
      if (!inGrace) counted += 1;
      const [http, sql] = await Promise.all([observeHttp(url, signal), database.observe()]);
      signal.throwIfAborted();
      const { verdicts, wrongRelease, final: lasts } = judge(http, sql, { release, migration: expectedMigration });
      const durationMs = Math.round(elapsed());
      if (allPass(verdicts)) {
        const warnings = summary(verdicts, "warn");
        if (warnings !== "") log.warn(`${slot} passes the gate with a warning: ${warnings}`);
        log.info(
          `${slot} may serve: ${gateCheckNames.map((name) => `${name} (${verdicts[name].detail})`).join(", ")}`,
          { attempts, duration_ms: durationMs },
        );
        return {
          attempts,
          durationMs,
          checks: Object.fromEntries(gateCheckNames.map((name) => [name, verdicts[name].detail])) as Record<
            (typeof gateCheckNames)[number],
            string
          >,
        };
      }

      final = lasts ? final + 1 : 0;
      if (counted >= retries || final >= finalAnswers) {
        const lines = gateCheckNames.map(
          (name) =>
            `  ${name.padEnd(10)} ${verdicts[name].status === "fail" ? "FAILED" : "passed"}  ${verdicts[name].detail}`,
        );
        throw new StepError(
          `${slot} did not pass the gate after ${attempts} attempts in ${seconds(durationMs)}; traffic stays where it is:\n${lines.join("\n")}`,
          {
            hint: isBehind(sql, expectedMigration)
              ? "its migrations were not run: the same once more without --skip-migrations (togather:skipMigrations) runs them"
              : wrongRelease && final >= finalAnswers
                ? `docker inspect ${containerName}: the container doesn't run the image of ${release.version}`
                : `docker logs ${containerName}`,
          },
        );
      }
      log.debug(`attempt ${attempts}: ${summary(verdicts, "fail")}`);
      if (durationMs >= nextProgress) {
        log.info(
          `${slot} isn't ready after ${Math.round(durationMs / 1000)} s${inGrace ? "" : ` (attempt ${counted} of ${retries})`}: ${summary(verdicts, "fail")}`,
        );
        nextProgress = durationMs + progressMs;
      }
      // During the grace period polls are short from the first moment, so that a fast server does not wait.
      const wait = inGrace
        ? Math.min(pollMs, graceSeconds * 1000 - elapsed())
        : intervalSeconds * 1000 - (elapsed() - attemptStarted);
      await sleep(Math.max(0, wait), undefined, { signal });
    }
  } finally {
    await database.close();
  }
}
