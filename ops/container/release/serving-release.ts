/**
 * Checks that the release that serves still works after the migrations: its image is started against the migrated copy
 * of the data and asked. This step has no Docker client; its own client has one (ops/client/serving-release.ts).
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import * as z from "zod";
import type { CommandContext } from "../../contract/context.ts";
import { releaseSchema, type StepRequest } from "../../contract/steps.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { ask } from "../traffic/http.ts";
import { healthProblem } from "../traffic/through-router.ts";
import {
  type ServingQuestion,
  servingStartedSchema,
  type ServingRemoved,
  servingRemovedSchema,
} from "../../contract/questions.ts";

const pollMs = 250;

/**
 * Jobs do real things (mails, requests to others), which a copy must not do: the copy's queue is emptied, and paused
 * for jobs that the server adds.
 */
export async function silenceJobs(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ jobs: boolean; queues: boolean }>(
    "SELECT to_regclass('river_job') IS NOT NULL AS jobs, to_regclass('river_queue') IS NOT NULL AS queues",
  );
  if (rows[0]?.jobs === true) await client.query("DELETE FROM river_job");
  if (rows[0]?.queues === true) {
    await client.query(
      "INSERT INTO river_queue (name, created_at, updated_at) VALUES ('default', now(), now()) ON CONFLICT (name) DO NOTHING",
    );
    await client.query("UPDATE river_queue SET paused_at = now()");
  }
}

type Serving = NonNullable<StepRequest<"rehearse">["serving"]>;

/** A problem with the release's answers. Undefined: none. */
async function problemOf(
  base: string,
  release: z.infer<typeof releaseSchema>,
  { healthPath, checks }: Serving,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const health = await ask(new URL(healthPath, base), { signal });
    const problem = healthProblem(health, release);
    if (problem !== undefined) return problem;
    for (const { path, status } of checks) {
      const answer = await ask(new URL(path, base), { signal });
      if (answer.status !== status) return `${path} answers ${answer.status}, expected ${status}`;
    }
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return messageOf(error);
  }
}

/**
 * Starts the release that serves against a database, and asks it until it answers well.
 * @returns a summary of its answer; null where nothing serves.
 * @throws {StepError} when it does not answer well, unless a warning was requested.
 */
export async function askServingRelease(
  serving: Serving,
  { name, database, migrated }: { name: string; database: string; migrated: string },
  context: CommandContext,
): Promise<string | null> {
  const { log, signal } = context;
  const question = (question: ServingQuestion): Promise<unknown> => context.ask(question);
  const started = servingStartedSchema.parse(await question({ do: "start the serving release", database }));
  if ("nothing" in started) {
    log.info(`rehearsal: ${started.nothing}`);
    return null;
  }
  let problem: string | undefined;
  let removed: ServingRemoved = { exitCode: null, lines: [] };
  const [began, who] = [performance.now(), "release" in started ? started.release.version : "the release that serves"];
  if ("problem" in started) problem = `it could not be started: ${started.problem}`;
  else {
    try {
      const deadline = began + serving.limitSeconds * 1000;
      for (;;) {
        problem = await problemOf(`http://${started.host}:${serving.port}`, started.release, serving, signal);
        if (problem === undefined || performance.now() > deadline) break;
        await sleep(pollMs, undefined, { signal });
      }
    } finally {
      removed = servingRemovedSchema.parse(await question({ do: "remove it" }));
    }
  }
  if (problem === undefined) {
    const asked = [serving.healthPath, ...serving.checks.map(({ path }) => path)].filter(
      (path, i, all) => all.indexOf(path) === i,
    );
    log.info(`rehearsal: ${who}, which serves, works on the migrated copy: ${asked.join(", ")}`, {
      duration_ms: Math.round(performance.now() - began),
    });
    return `${who}: ${asked.join(", ")}`;
  }
  const ended = removed.exitCode === null ? "" : ` Its server ended with exit code ${removed.exitCode}.`;
  const lines =
    removed.lines.length === 0 ? "" : ` Its last lines:\n${removed.lines.map((line) => `  ${line}`).join("\n")}`;
  const what = `${who}, which serves, does not work after ${migrated}: ${problem}.${ended} It was asked on a migrated copy of the data; the database itself was not touched, and what serves goes on.${lines}`;
  if (serving.failure === "warn") {
    log.warn(`rehearsal: ${what}`);
    return `${who}: FAILED, ${problem}`;
  }
  throw new StepError(what, {
    hint: `add first, and remove in a later release, when nothing that serves needs it any more (docs/migrations.md). If that is a mistake: togather:deployment database.serving_release_check warn (of ${name})`,
  });
}
