import { describe, expect, it } from "vitest";
import { allPass, judge, type HttpObservation, type SqlObservation } from "./gate-checks.ts";

const release = { version: "v1", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const healthy = {
  status: "healthy",
  version: "v1",
  database: "connected",
  migrations: "up-to-date",
  jobs: "operational",
};
const sqlGood: SqlObservation = { schema: { version: 4, dirty: false }, jobs: "works" };
const http = (body: object, status = 200): HttpObservation => ({ status, body: JSON.stringify(body) });
const statusOf = (seen: HttpObservation, sql: SqlObservation = sqlGood, migration: number | null = 4): string => {
  const { verdicts } = judge(seen, sql, { release, migration });
  return Object.entries(verdicts)
    .map(([name, { status }]) => `${name}:${status}`)
    .join(" ");
};

describe("judge", () => {
  it.each<[string, HttpObservation, SqlObservation, string]>([
    ["all is well", http(healthy), sqlGood, "database:pass migrations:pass http:pass jobs:pass"],
    [
      "the schema is ahead",
      http(healthy),
      { schema: { version: 9, dirty: false }, jobs: "works" },
      "database:pass migrations:pass http:pass jobs:pass",
    ],
    [
      "the schema is behind",
      http(healthy),
      { schema: { version: 3, dirty: false }, jobs: "works" },
      "database:pass migrations:fail http:pass jobs:pass",
    ],
    [
      "nothing was migrated",
      http(healthy),
      { schema: { version: null, dirty: false }, jobs: "works" },
      "database:pass migrations:fail http:pass jobs:pass",
    ],
    [
      "the schema is dirty",
      http(healthy),
      { schema: { version: 4, dirty: true }, jobs: "works" },
      "database:pass migrations:fail http:pass jobs:pass",
    ],
    [
      "a later release's migration left the schema dirty",
      http(healthy),
      { schema: { version: 5, dirty: true }, jobs: "works" },
      "database:pass migrations:warn http:pass jobs:pass",
    ],
    ["the database is away", http(healthy), { error: "refused" }, "database:fail migrations:fail http:pass jobs:fail"],
    [
      "River's tables can't be read",
      http(healthy),
      { error: "permission denied", jobsError: true },
      "database:pass migrations:fail http:pass jobs:fail",
    ],
    [
      "a server without River",
      http({ status: "healthy", version: "v1" }),
      { schema: { version: 4, dirty: false }, jobs: "no tables" },
      "database:pass migrations:pass http:pass jobs:pass",
    ],
    [
      "the server has no database",
      http({ ...healthy, status: "unhealthy", database: "disconnected" }, 503),
      sqlGood,
      "database:fail migrations:pass http:fail jobs:pass",
    ],
    [
      "the server finds migrations pending",
      http({ ...healthy, migrations: "pending" }),
      sqlGood,
      "database:pass migrations:fail http:pass jobs:pass",
    ],
    [
      "jobs don't run",
      http({ ...healthy, status: "degraded", jobs: "degraded" }),
      sqlGood,
      "database:pass migrations:pass http:warn jobs:fail",
    ],
    [
      "degraded for another reason",
      http({ status: "degraded", version: "v1", checks: { email: { status: "fail" } } }),
      sqlGood,
      "database:pass migrations:pass http:warn jobs:pass",
    ],
    [
      "a job queue with a warning",
      http({ status: "degraded", version: "v1", checks: { job_queue: { status: "warn" } } }),
      sqlGood,
      "database:pass migrations:pass http:warn jobs:warn",
    ],
    [
      "unhealthy with 200",
      http({ ...healthy, status: "unhealthy" }),
      sqlGood,
      "database:pass migrations:pass http:fail jobs:pass",
    ],
    ["healthy with 500", http(healthy, 500), sqlGood, "database:pass migrations:pass http:fail jobs:pass"],
    ["a redirect", http(healthy, 302), sqlGood, "database:pass migrations:pass http:fail jobs:pass"],
    ["no JSON", { status: 200, body: "<html>" }, sqlGood, "database:pass migrations:pass http:fail jobs:pass"],
    ["nothing listens", { error: "refused" }, sqlGood, "database:pass migrations:pass http:fail jobs:pass"],
  ])("%s", (_name, seen, sql, expected) => {
    expect(statusOf(seen, sql)).toBe(expected);
  });

  it("lets any clean schema pass where none is expected", () => {
    expect(statusOf(http(healthy), { schema: { version: null, dirty: false }, jobs: "no tables" }, null)).toBe(
      "database:pass migrations:pass http:pass jobs:pass",
    );
  });

  it("says which release answers, and that waiting is pointless", () => {
    const { verdicts, wrongRelease } = judge(http({ ...healthy, version: "v0" }), sqlGood, { release, migration: 4 });
    expect(wrongRelease).toBe(true);
    expect(verdicts.http.detail).toBe(`answers as version v0, expected v1 (${release.commit})`);
    expect(allPass(verdicts)).toBe(false);
  });

  it.each<[string, SqlObservation, number | null, boolean]>([
    [
      "a dirty schema that nobody works on",
      { schema: { version: 4, dirty: true }, jobs: "works", migrating: false },
      4,
      true,
    ],
    [
      "a dirty schema while somebody migrates",
      { schema: { version: 4, dirty: true }, jobs: "works", migrating: true },
      4,
      false,
    ],
    ["a schema that is behind", { schema: { version: 3, dirty: false }, jobs: "works" }, 4, true],
    ["a table that is missing", { error: "relation does not exist", jobsError: true, lasting: true }, 4, true],
    ["tables that can't be read at the moment", { error: "canceling statement", jobsError: true }, 4, false],
    ["a database that is away", { error: "refused" }, 4, false],
    ["a server that isn't there yet", sqlGood, 4, false],
  ])("knows whether waiting is pointless: %s", (_name, sql, migration, final) => {
    expect(judge({ error: "refused" }, sql, { release, migration }).final).toBe(final);
  });

  it("lets a degraded server pass, with a warning", () => {
    expect(
      allPass(judge(http({ status: "degraded", version: "v1" }), sqlGood, { release, migration: 4 }).verdicts),
    ).toBe(true);
  });
});
