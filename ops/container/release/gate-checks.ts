/**
 * The gate's four checks: turns observations of a slot into one verdict each. Pure functions, so that every case can be
 * tested.
 */
import type { gateCheckNames, Release } from "../../contract/steps.ts";
import { isRelease, parseHealth, type Health, type ReportedCheck } from "../../contract/health.ts";

export type CheckName = (typeof gateCheckNames)[number];
export interface Verdict {
  status: "pass" | "warn" | "fail";
  detail: string;
}
export type Verdicts = Record<CheckName, Verdict>;

/** The health endpoint's answer, or the error instead of it. */
export type HttpObservation = { status: number; body: string } | { error: string };
/** Observations in the database through the gate's own connection. */
export type SqlObservation =
  | { schema: { version: number | null; dirty: boolean }; jobs: "works" | "no tables"; migrating?: boolean }
  | { error: string; jobsError?: boolean; lasting?: boolean };

export interface Expectation {
  release: Release;
  /** Lowest schema version. Null: the release has no migrations, or none were run for it. */
  migration: number | null;
}

const pass = (detail: string): Verdict => ({ status: "pass", detail });
const fail = (detail: string): Verdict => ({ status: "fail", detail });

/** A body, shortened for a message. */
function excerpt(body: string): string {
  const text = body.replace(/\s+/g, " ").trim();
  return text === "" ? "an empty body" : text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

interface HttpVerdict {
  verdict: Verdict;
  health?: Health;
  /** Another release answers in the slot: waiting doesn't help. */
  wrongRelease: boolean;
}

function judgeHttp(seen: HttpObservation, release: Release): HttpVerdict {
  if ("error" in seen) return { verdict: fail(seen.error), wrongRelease: false };
  const health = parseHealth(seen.body);
  if (health === undefined) {
    return {
      verdict: fail(`HTTP ${seen.status}, expected 200 and a health report as JSON, found ${excerpt(seen.body)}`),
      wrongRelease: false,
    };
  }
  if (seen.status < 200 || seen.status > 299 || health.status === "unhealthy") {
    return {
      verdict: fail(
        `HTTP ${seen.status}, status ${health.status}${health.others.length === 0 ? "" : `: ${health.others.join("; ")}`}`,
      ),
      health,
      wrongRelease: false,
    };
  }
  if (!isRelease(health, release)) {
    const found = health.gitCommit === undefined ? health.version : `${health.version} (${health.gitCommit})`;
    return {
      verdict: fail(`answers as version ${found}, expected ${release.version} (${release.commit})`),
      health,
      wrongRelease: true,
    };
  }
  // Degraded is the server's own word for "ready for requests, but needs attention": a warning.
  if (health.status === "degraded") {
    return {
      verdict: {
        status: "warn",
        detail: `HTTP ${seen.status}, degraded${health.others.length === 0 ? "" : `: ${health.others.join("; ")}`}`,
      },
      health,
      wrongRelease: false,
    };
  }
  return { verdict: pass(`HTTP ${seen.status}, ${health.version}`), health, wrongRelease: false };
}

/** Combines the gate's own observation with the server's report: both must pass. */
function combined(seen: Verdict, reported: ReportedCheck | undefined): Verdict {
  if (seen.status === "fail" || reported === undefined || reported.status === "pass") return seen;
  return { status: reported.status, detail: `${seen.detail}, but the server reports: ${reported.detail}` };
}

function judgeSchema(seen: SqlObservation, expected: number | null): Verdict {
  if ("error" in seen) return fail(seen.jobsError === true ? "not checked" : "the database did not answer");
  const { version, dirty } = seen.schema;
  // The dirty version is a later release's, and everything that this release needs was there before: its server
  // decides.
  if (dirty && expected !== null && (version ?? 0) > expected)
    return {
      status: "warn",
      detail: `schema version ${version} is dirty (its migration failed half-way), expected at least ${expected}`,
    };
  if (dirty) return fail(`schema version ${version} is dirty: its migration failed half-way, or still runs`);
  if (expected !== null && (version ?? 0) < expected)
    return fail(`schema version ${version ?? "none"}, expected at least ${expected}`);
  return pass(version === null ? "no migrations" : `schema version ${version}`);
}

function judgeJobs(seen: SqlObservation): Verdict {
  if ("error" in seen) return fail(seen.jobsError === true ? seen.error : "the database did not answer");
  return pass(seen.jobs === "works" ? "River's tables answer" : "no River tables");
}

/** Whether the state of the database can no longer change: its migrations have ended, and nobody else runs any. */
function isFinal(seen: SqlObservation, expected: number | null): boolean {
  if ("error" in seen) return seen.lasting === true;
  return seen.migrating !== true && judgeSchema(seen, expected).status === "fail";
}

/** All four verdicts of one attempt. `final`: further attempts can't be better. */
export function judge(
  http: HttpObservation,
  sql: SqlObservation,
  expected: Expectation,
): { verdicts: Verdicts; wrongRelease: boolean; final: boolean } {
  const { verdict, health, wrongRelease } = judgeHttp(http, expected.release);
  const database = "error" in sql && sql.jobsError !== true ? fail(sql.error) : pass("SELECT 1");
  return {
    verdicts: {
      database: combined(database, health?.database),
      migrations: combined(judgeSchema(sql, expected.migration), health?.migrations),
      http: verdict,
      jobs: combined(judgeJobs(sql), health?.jobs),
    },
    wrongRelease,
    final: wrongRelease || isFinal(sql, expected.migration),
  };
}

/** Whether the slot may take requests. */
export function allPass(verdicts: Verdicts): boolean {
  return Object.values(verdicts).every(({ status }) => status !== "fail");
}
