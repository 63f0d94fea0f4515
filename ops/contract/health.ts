/** A server's health document, in either of its two shapes, and its meaning for the gate. */
import * as z from "zod";
import type { Release } from "./slots.ts";
import { isSameCommit, shortCommit } from "./release.ts";

/** The shape that the reference documents. */
const flatSchema = z.looseObject({
  status: z.enum(["healthy", "degraded", "unhealthy"]),
  version: z.string(),
  database: z.string().optional(),
  migrations: z.string().optional(),
  jobs: z.string().optional(),
  uptime: z.number().optional(),
});

const checkSchema = z.looseObject({ status: z.enum(["pass", "warn", "fail"]), message: z.string().optional() });
/** The shape of the real server. */
const nestedSchema = z.looseObject({
  status: z.enum(["healthy", "degraded", "unhealthy"]),
  version: z.string(),
  git_commit: z.string().optional(),
  checks: z.record(z.string(), checkSchema),
});

/** One check in the server's report. */
export interface ReportedCheck {
  status: "pass" | "warn" | "fail";
  detail: string;
}

export interface Health {
  status: "healthy" | "degraded" | "unhealthy";
  version: string;
  gitCommit: string | undefined;
  /** Undefined: the server does not report it. */
  database: ReportedCheck | undefined;
  migrations: ReportedCheck | undefined;
  jobs: ReportedCheck | undefined;
  /** Failing checks of the server that the gate doesn't know. */
  others: string[];
}

function fromWord(word: string | undefined, good: string): ReportedCheck | undefined {
  return word === undefined ? undefined : { status: word === good ? "pass" : "fail", detail: word };
}

/** Parses a body of the health endpoint. Undefined: neither of the two shapes. */
export function parseHealth(body: string): Health | undefined {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return undefined;
  }
  const nested = nestedSchema.safeParse(json);
  if (nested.success) {
    const { checks, status, version, git_commit: gitCommit } = nested.data;
    const { database, migrations, job_queue: jobs, ...others } = checks;
    const reported = (check: z.infer<typeof checkSchema> | undefined): ReportedCheck | undefined =>
      check && { status: check.status, detail: check.message ?? check.status };
    return {
      status,
      version,
      gitCommit,
      database: reported(database),
      migrations: reported(migrations),
      jobs: reported(jobs),
      others: Object.entries(others)
        .filter(([, check]) => check.status !== "pass")
        .map(([name, check]) => `${name}: ${check.message ?? check.status}`),
    };
  }
  const flat = flatSchema.safeParse(json);
  if (!flat.success) return undefined;
  const { status, version, database, migrations, jobs } = flat.data;
  return {
    status,
    version,
    gitCommit: undefined,
    database: fromWord(database, "connected"),
    migrations: fromWord(migrations, "up-to-date"),
    jobs: fromWord(jobs, "operational"),
    others: [],
  };
}

/** Its failing checks, in words: for the gate, behind the router and on a copy alike. */
export function failingChecks(health: Health): string[] {
  const known = (["database", "migrations", "jobs"] as const).flatMap((name) =>
    health[name]?.status === "fail" ? [`${name}: ${health[name].detail}`] : [],
  );
  return [...known, ...health.others];
}

/** Whether the server that answers is the deployed release. */
export function isRelease(health: Pick<Health, "version" | "gitCommit">, release: Release): boolean {
  const short = shortCommit(release.commit);
  // The reference's own example: v1.0.0-abc1234.
  const versions = [release.version, `${release.version}-${short}`];
  const plain = (version: string): string => version.replace(/^v(?=\d)/, "");
  if (versions.some((version) => plain(version) === plain(health.version))) return true;
  return [health.gitCommit, health.version].some(
    (commit) => commit !== undefined && /^[0-9a-f]{7,40}$/.test(commit) && isSameCommit({ commit }, release),
  );
}
