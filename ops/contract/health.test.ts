import { describe, expect, it } from "vitest";
import { isRelease, parseHealth } from "./health.ts";

const commit = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d";

describe("parseHealth", () => {
  it("reads the reference's shape", () => {
    expect(
      parseHealth(
        JSON.stringify({
          status: "degraded",
          version: "v1",
          database: "connected",
          migrations: "pending",
          jobs: "degraded",
          uptime: 3,
        }),
      ),
    ).toEqual({
      status: "degraded",
      version: "v1",
      gitCommit: undefined,
      database: { status: "pass", detail: "connected" },
      migrations: { status: "fail", detail: "pending" },
      jobs: { status: "fail", detail: "degraded" },
      others: [],
    });
  });

  it("reads the real server's shape", () => {
    const body = {
      status: "degraded",
      version: "v1",
      git_commit: commit,
      slot: "blue",
      checks: {
        database: { status: "pass", message: "connected", latency_ms: 2 },
        migrations: { status: "pass", details: { version: 12 } },
        job_queue: { status: "warn", message: "no worker yet" },
        email: { status: "fail", message: "no SMTP" },
      },
      timestamp: "2026-01-28T14:30:22Z",
    };
    expect(parseHealth(JSON.stringify(body))).toMatchObject({
      status: "degraded",
      gitCommit: commit,
      database: { status: "pass", detail: "connected" },
      migrations: { status: "pass", detail: "pass" },
      jobs: { status: "warn", detail: "no worker yet" },
      others: ["email: no SMTP"],
    });
  });

  it("allows for fields that a server doesn't report", () => {
    expect(parseHealth('{"status":"healthy","version":"v1"}')).toMatchObject({
      database: undefined,
      migrations: undefined,
      jobs: undefined,
    });
  });

  it.each(["", "ok", "<html>", "[]", "null", '{"status":"fine","version":"v1"}', '{"status":"healthy"}'])(
    "refuses %s",
    (body) => {
      expect(parseHealth(body)).toBeUndefined();
    },
  );
});

describe("isRelease", () => {
  const release = { version: "v1.4.0", commit };
  it.each([
    ["v1.4.0", undefined, true],
    ["1.4.0", undefined, true],
    ["v1.4.0-1a2b3c4", undefined, true],
    ["dev", commit, true],
    ["dev", "1a2b3c4", true],
    [commit, undefined, true],
    ["1a2b3c4", undefined, true],
    ["v1.4.1", undefined, false],
    ["v1.4", undefined, false],
    ["v1.4.0-9999999", undefined, false],
    ["dev", "9999999", false],
    ["", undefined, false],
    ["dev", "", false],
    ["dev", "1a2b", false],
  ])("%s %s", (version, gitCommit, expected) => {
    expect(isRelease({ version, gitCommit }, release)).toBe(expected);
  });

  it("is not fooled by images, which have no git commit", () => {
    expect(isRelease({ version: "v2", gitCommit: commit }, { version: "v1", commit: `sha256:${"a".repeat(64)}` })).toBe(
      false,
    );
  });
});
