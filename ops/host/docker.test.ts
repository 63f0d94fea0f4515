import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runFailureCommand } from "../client/failure-command.ts";
import { buildEnvironment } from "../client/build.ts";
import { endOf } from "../contract/programs.ts";
import { SECRET_VARIABLES, SERVER_ENVIRONMENT } from "../contract/steps.ts";
import { askDatabase } from "./database.ts";
import { noteInLog } from "./deployment-log.ts";
import { docker, startDocker, tryDocker } from "./docker.ts";
import { withoutSecrets } from "./environment.ts";
import { hostLockHolder } from "./host-lock.ts";
import { lookAtHost } from "./serving-slot.ts";
import { setSuperuserPassword } from "./superuser-password.ts";

/** Variables of this process that no started program may get. */
const withheld = [
  "TOGATHER_REFUSAL_FILE",
  "TOGATHER_LOCK",
  ...SECRET_VARIABLES,
  SERVER_ENVIRONMENT,
  "DATABASE_PASSWORD",
  "TOGATHER_REQUEST",
  "PULUMI_CONFIG_PASSPHRASE",
  "PULUMI_CONFIG_PASSPHRASE_FILE",
  "PULUMI_ACCESS_TOKEN",
  "PULUMI_CONFIG",
  "PULUMI_BACKEND_URL",
];

let directory: string;
/** Installs a program of that name, first in PATH. */
function install(name: string, script: string): void {
  const file = join(directory, name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}
const noted = (): string =>
  existsSync(join(directory, "noted")) ? readFileSync(join(directory, "noted"), "utf8") : "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-docker-test-"));
  vi.stubEnv("PATH", `${directory}${delimiter}${process.env["PATH"] ?? ""}`);
  vi.stubEnv("KEPT", "kept-by-whoever-set-it");
  for (const name of withheld) vi.stubEnv(name, `canary-${name}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

describe("what is started", () => {
  it("gets neither the deployment's secrets nor Pulumi's passphrase, and the rest", async () => {
    install("docker", `env >> '${directory}/noted'; exit 1`);
    const silent = async (asked: Promise<unknown>): Promise<void> => {
      await asked.catch(() => undefined);
    };
    const about = { name: "unit", host: "" };
    for (const start of [
      () => tryDocker(["ps"]),
      () => docker(["ps"], { host: "tcp://127.0.0.1:1" }),
      () => endOf(startDocker(["ps"], { env: process.env })),
      () => hostLockHolder("unit", ""),
      () => lookAtHost("unit", "", { databaseUrls: true }),
      () => askDatabase({ ...about, extensions: [] }),
      () => noteInLog({ host: "", logLocation: "/tmp", deploymentId: "x", message: "x" }),
      () => setSuperuserPassword({ container: "x", host: "", password: "canary" }),
    ]) {
      rmSync(join(directory, "noted"), { force: true });
      await silent(start());
      expect(noted(), String(start)).toContain("KEPT=kept-by-whoever-set-it");
      expect(noted(), String(start)).not.toContain("canary");
    }
  });

  it("nor does the operator's own failure command, which is told of the failure", async () => {
    install("tell", `env > '${directory}/noted'`);
    const failure = { ask: "tell of a failure", deploymentId: "x", status: "failed", phase: "gate", error: "broken" };
    await runFailureCommand(
      { ...failure, command: ["tell"] } as unknown as Parameters<typeof runFailureCommand>[0],
      { name: "unit", environment: "staging" },
      () => undefined,
    );
    expect(noted()).toContain("TOGATHER_ERROR=broken");
    expect(noted()).toContain("KEPT=");
    expect(noted()).not.toContain("canary");
  });

  it("nor a build", () => {
    expect(JSON.stringify(buildEnvironment({ ...process.env, BUILDX_BUILDER: "other" }))).not.toMatch(/canary|other/);
  });

  it("gets what it is given, and the Docker host that is set", async () => {
    install("docker", 'echo "$JWT_SECRET $DOCKER_HOST"');
    const given = { host: "ssh://deploy@example.org", give: { JWT_SECRET: "given" } };
    expect(await docker([], given)).toBe("given ssh://deploy@example.org");
    vi.stubEnv("DOCKER_HOST", "tcp://127.0.0.1:1");
    expect(await docker([])).toBe(" tcp://127.0.0.1:1");
  });

  it("is not told by the name alone", () => {
    expect(withoutSecrets({ MY_PULUMI_THING: "a", DATABASE_URLS: "b", PULUMI_X: "c", PGPASSWORD: "d" })).toEqual({
      MY_PULUMI_THING: "a",
      DATABASE_URLS: "b",
    });
  });
});

describe("the Docker client", () => {
  it("tells both streams, the exit code and the bytes", async () => {
    install("docker", "printf 'a\\n\\n'; cat; printf '\\377'; echo problem >&2; exit 3");
    const answer = await tryDocker([], { input: "given" });
    expect(answer).toMatchObject({ ok: false, exitCode: 3, stderr: "problem" });
    expect(answer.stdout).toBe("a\n\ngiven\u{fffd}");
    expect(answer.bytes.at(-1)).toBe(0xff);
  });

  it("has its stdin at its end unless it is held open", async () => {
    install("docker", "cat; echo over");
    expect(await docker([])).toBe("over");
    const child = startDocker([], { stdin: "open" });
    const ended = endOf(child);
    expect(await Promise.race([ended, sleep(300, "open" as const)])).toBe("open");
    child.stdin.end();
    expect(await ended).toEqual({ exitCode: 0 });
  });

  it("may be gone before it has read everything", async () => {
    install("docker", "exec 0<&-; echo refused >&2; exit 1");
    expect(await tryDocker([], { input: Buffer.alloc(4 << 20) })).toMatchObject({ ok: false, stderr: "refused" });
  });

  it("is stopped by the signal, and killed when it does not mind", async () => {
    install("docker", `trap 'echo asked >> "${directory}/noted"' TERM; while :; do sleep 0.05; done`);
    const stop = new AbortController();
    const child = startDocker([], { signal: stop.signal, graceMs: 300 });
    const ended = endOf(child);
    await sleep(300);
    stop.abort();
    expect(await ended).toEqual({ exitCode: null });
    expect(noted()).toContain("asked");
    const before = await tryDocker([], { signal: AbortSignal.abort() });
    expect(before).toMatchObject({ ok: false, exitCode: undefined });
  }, 20_000);

  it("is not waited for beyond the limit, whatever its own children hold open", async () => {
    install("docker", "sleep 20 & wait");
    const started = performance.now();
    expect(await tryDocker([], { timeoutMs: 500 })).toMatchObject({ ok: false, stderr: "no answer within 0.5 s" });
    expect(performance.now() - started).toBeLessThan(10_000);
  }, 20_000);

  it("does not show what is to be hidden", async () => {
    install("docker", "cat >&2; exit 1");
    await expect(docker([], { input: "syntax error at 's3cret'", hide: ["s3cret"] })).rejects.toThrow(
      "docker failed: syntax error at '…'",
    );
  });

  it("that is not there is said in words that mend it", async () => {
    vi.stubEnv("PATH", directory);
    await expect(tryDocker([])).rejects.toMatchObject({
      message: "the docker command is not installed",
      hint: expect.stringContaining("apt-get install docker.io") as string,
    });
    expect((await endOf(startDocker([]))).error).toBeDefined();
    expect(await hostLockHolder("unit", "")).toBeUndefined();
  });
});
