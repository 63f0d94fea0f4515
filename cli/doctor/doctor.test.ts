import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findingsText } from "./doctor.ts";
import { countFindings, fail, ok, warn } from "./finding.ts";
import { clockFinding } from "./host.ts";
import { examineSettings, tlsFindings } from "./settings.ts";
import { sourceFindings } from "./source.ts";
import { stackSettingsSchema } from "../../config/schema/stack-settings.ts";
import { neededVersion, pendingMigrations } from "../../ops/client/pending-migrations.ts";
import { certificatePair } from "../../test/certificate-pair.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-doctor-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const statuses = (findings: { check: string; status: string }[]): string[] =>
  findings.map(({ check, status }) => `${check}: ${status}`);

/** A repository with one commit. */
async function repository(): Promise<string> {
  const git = (...args: string[]) =>
    execa("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", ...args], {
      cwd: directory,
    });
  await git("init", "--quiet");
  for (const file of ["1_a.up.sql", "1_a.down.sql", "2_b.up.sql", "10_c.up.sql", "README"])
    writeFileSync(join(directory, file), "");
  await git("add", ".");
  await git("commit", "--quiet", "--message=1");
  return (await git("rev-parse", "HEAD")).stdout;
}

describe("the doctor", () => {
  it("says what was found, what was expected, and what to do", () => {
    const findings = [
      ok("docker", "20.10"),
      warn("clock", "3 s ahead", "less than 2 s", "timedatectl"),
      fail("port 80", "taken", "free", "another port"),
    ];
    expect(countFindings(findings)).toBe("1 ok, 1 warning, 1 failed");
    // eslint-disable-next-line no-control-regex
    expect(findingsText(findings).replace(/\u001b\[\d+m/g, "")).toBe(
      [
        "ok    docker   20.10",
        "WARN  clock    3 s ahead",
        "        expected: less than 2 s",
        "        → timedatectl",
        "FAIL  port 80  taken",
        "        expected: free",
        "        → another port",
      ].join("\n"),
    );
  });

  it("compares clocks no finer than the answer took", () => {
    const at = 1_700_000_000_000;
    expect(clockFinding(at + 3_000, at, at + 4_000)).toMatchObject({ status: "ok" });
    expect(clockFinding(at + 10_000, at, at + 4_000)).toMatchObject({
      status: "warn",
      found: "8.0 s ahead of this machine (± 2.0 s)",
    });
    expect(clockFinding(at - 100_000, at, at + 100)).toMatchObject({
      status: "fail",
      found: expect.stringContaining("behind this machine") as string,
    });
  });

  it("finds what is wrong with settings and secrets, each on a line of its own", () => {
    const values = {
      environment: "staging",
      activeSlot: "green",
      slots: JSON.stringify({ blue: { version: "v1", commit: "0123abc" } }),
      secretsFile: ".env.none",
    };
    const { findings } = examineSettings(
      { values: { ...values, jwtSecret: "short" }, encrypted: new Set() },
      directory,
    );
    expect(statuses(findings)).toEqual(expect.arrayContaining(["settings: fail", "secrets: fail"]));
    expect(findings.every(({ status, fix }) => status !== "fail" || fix !== undefined)).toBe(true);
    expect(JSON.stringify(findings)).not.toContain('short"');
    expect(statuses(examineSettings("error: incorrect passphrase", directory).findings)).toEqual(["settings: fail"]);
  });

  it("looks at certificate and key", async () => {
    const tls = { certificateFile: "c.pem", keyFile: "k.pem" };
    const stack = { environment: "staging", secretsFile: "" } as const;
    expect(tlsFindings({ ...stack, tls: undefined }, directory)).toEqual([]);
    expect(tlsFindings({ ...stack, tls }, directory)).toMatchObject([
      { status: "fail", found: expect.stringContaining("does not exist") as string },
    ]);
    const check = async (days: Parameters<typeof certificatePair>[0]): Promise<string[]> => {
      const { certificate, key } = await certificatePair(days);
      writeFileSync(join(directory, "c.pem"), certificate);
      writeFileSync(join(directory, "k.pem"), key);
      return statuses(tlsFindings({ ...stack, tls }, directory));
    };
    expect(await check({})).toEqual(["tls: ok"]);
    expect(await check({ until: 5 })).toEqual(["tls: warn"]);
    expect(await check({ from: -5, until: -1 })).toEqual(["tls: fail"]);
    // As on a CI machine without files: the check uses the same source as the deployment.
    const { certificate, key } = await certificatePair({ until: 5 });
    const elsewhere = { ...stack, tls: { certificateFile: "none.pem", keyFile: "none.pem" } };
    expect(statuses(tlsFindings(elsewhere, directory, { TLS_CERTIFICATE: certificate, TLS_KEY: key }))).toEqual([
      "tls: warn",
    ]);
    expect(statuses(tlsFindings({ ...stack, tls: undefined }, directory, { TLS_CERTIFICATE: certificate }))).toEqual([
      "tls: fail",
    ]);
  });

  it("looks for the commits of the slots, and at what is not committed", async () => {
    const commit = await repository();
    const settings = stackSettingsSchema.parse({
      environment: "staging",
      source: { paths: ["."] },
      slots: { blue: { version: "v1", commit }, green: { version: "v2", commit: "f".repeat(40) } },
    });
    expect(statuses(await sourceFindings(settings, directory))).toEqual([
      "release of blue: ok",
      "release of green: fail",
      "source tree: ok",
    ]);
    writeFileSync(join(directory, "new"), "");
    expect(statuses(await sourceFindings(settings, directory))).toContain("source tree: warn");
    const image = stackSettingsSchema.parse({
      environment: "staging",
      slots: { blue: { version: "v1", image: `registry.example.org/t@sha256:${"a".repeat(64)}` } },
    });
    expect(statuses(await sourceFindings(image, directory))).toEqual(["release of blue: ok"]);
  });
});

describe("the migrations that a release would run", () => {
  it("are those of its own files above the database's version, in order", async () => {
    const commit = await repository();
    const source = { repository: directory, commit, path: "." };
    expect(await pendingMigrations(source, null)).toEqual(["1_a.up.sql", "2_b.up.sql", "10_c.up.sql"]);
    expect(await pendingMigrations(source, 2)).toEqual(["10_c.up.sql"]);
    expect(await pendingMigrations(source, 10)).toEqual([]);
    expect(await neededVersion(source)).toBe(10);
    expect(await pendingMigrations({ ...source, commit: "tree-1" }, 2)).toEqual(["10_c.up.sql"]);
  });
  it("are not known where its files are not", async () => {
    const commit = await repository();
    expect(await pendingMigrations({ repository: directory, commit: "f".repeat(40), path: "." }, null)).toBeUndefined();
    expect(await pendingMigrations({ repository: directory, commit, path: "elsewhere" }, null)).toBeUndefined();
    expect(await neededVersion({ repository: directory, commit, path: "elsewhere" })).toBeUndefined();
  });
});
