import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stageTag } from "../../ops/client/build-stages.ts";
import { labels, volumeName } from "../../ops/contract/names.ts";
import { TestStack } from "./stack.ts";

/** A server that was compiled before is compiled again and started within this time, in ms, also on a busy machine. */
const reloadMs = 90_000;

// Each test starts from what the one before left.
describe("the development environment", () => {
  let stack: TestStack;
  const container = (): string => `togather-${stack.name}-dev`;

  /** The version that the server answers with; undefined where it doesn't answer. */
  async function version(): Promise<string | undefined> {
    try {
      const response = await fetch(stack.url("/health"), {
        signal: AbortSignal.timeout(2_000),
        headers: { connection: "close" },
      });
      return response.status === 200 ? ((await response.json()) as { version: string }).version : undefined;
    } catch {
      return undefined;
    }
  }

  /** Waits until a question has this answer; returns the ms that it took. */
  async function until<T>(ask: () => Promise<T>, wanted: T): Promise<number> {
    const started = Date.now();
    let last: T | undefined;
    while (Date.now() - started < reloadMs) {
      last = await ask();
      if (last === wanted) return Date.now() - started;
      await sleep(250);
    }
    throw new Error(
      `expected ${JSON.stringify(wanted)} within ${reloadMs} ms, found ${JSON.stringify(last)}; ${(await execa("docker", ["logs", "--tail=30", container()], { all: true })).all}`,
    );
  }

  /**
   * Packages as a release's build stage has compiled them, where this engine has one: to compile them all again takes 45 s of
   * a processor. The modules are downloaded as ever.
   */
  async function fillCache(): Promise<void> {
    const compiled = stageTag("togather-server:any", "server/Dockerfile", 0);
    if ((await execa("docker", ["image", "inspect", compiled], { reject: false })).failed) return;
    const volume = volumeName(stack.name, "dev");
    const labelled = Object.entries({ [labels.name]: stack.name, [labels.part]: "dev" });
    await execa("docker", ["volume", "create", ...labelled.map(([key, value]) => `--label=${key}=${value}`), volume]);
    const copy = ["cp", "--archive", "/root/.cache/go-build", "/cache/build"];
    await execa("docker", ["run", "--rm", `--volume=${volume}:/cache`, compiled, ...copy]);
  }

  const log = async (): Promise<string> => (await execa("docker", ["logs", container()], { all: true })).all;

  beforeAll(async () => {
    stack = await TestStack.create();
    // A visible change for hot reload.
    stack.edit("server/main.go", 'version = "dev"', 'version = "first"');
    stack.set({ environment: "development" });
    await fillCache();
  });

  afterAll(async () => {
    await stack.remove();
  });

  it("comes up as one server and PostgreSQL, on the loopback, with debug logs and all migrations", async () => {
    const up = await stack.run("up");
    expect(up.output).not.toMatch(/error:/);
    expect(up.ok).toBe(true);
    expect([...(await stack.containers()).keys()].sort()).toEqual([`togather-${stack.name}-db`, container()]);
    expect(await version()).toBe("first");
    expect(await stack.output("url")).toBe(`http://localhost:${stack.ports.http}`);
    expect((await execa("docker", ["port", container()])).stdout).toBe(`8080/tcp -> 127.0.0.1:${stack.ports.http}`);
    expect(await stack.query("SELECT version, dirty FROM schema_migrations")).toBe("4|f");
    const env = (await execa("docker", ["exec", container(), "env"])).stdout;
    expect(env).toMatch(/^LOG_LEVEL=DEBUG$/m);
    expect(env).toMatch(/^ENVIRONMENT=development$/m);
    for (const canary of Object.values(stack.canaries)) expect(up.output).not.toContain(canary);
    expect((await stack.run("up")).changes).not.toHaveProperty("updated");
  });

  it("serves a change of the source without any command", async () => {
    stack.edit("server/main.go", 'version = "first"', 'version = "second"');
    console.log(`hot reload: ${await until(version, "second")} ms`);
    // Nothing of a build is left in the working tree.
    expect(
      (
        await execa("git", ["status", "--porcelain", "--", "server", "migrations"], { cwd: stack.directory })
      ).stdout.trim(),
    ).toBe("M server/main.go");
  });

  it("goes on serving the last build when a change doesn't compile", async () => {
    stack.edit("server/main.go", 'version = "second"', 'version = second"');
    await until(async () => (await log()).includes("failed to build"), true);
    await until(version, "second");
    expect(await log()).toMatch(/main\.go:\d+:\d+: /);
    stack.edit("server/main.go", 'version = second"', 'version = "third"');
    await until(version, "third");
  });

  it("applies a new migration with the next up, and leaves the server as it is", async () => {
    const before = await stack.containers();
    stack.addMigration(
      "000005_mood",
      "ALTER TABLE events ADD COLUMN mood text;",
      "ALTER TABLE events DROP COLUMN mood;",
    );
    const { code, stdout } = await stack.togather("up");
    expect(code, stdout).toBe(0);
    expect(stdout).toContain(`served at http://localhost:${stack.ports.http}`);
    expect(await stack.query("SELECT version, dirty FROM schema_migrations")).toBe("5|f");
    expect(await stack.containers()).toEqual(before);
  });

  it("has a status, and no slots to release into or to roll back to", async () => {
    const status = await stack.togather("status");
    expect(status.code).toBe(0);
    expect(status.stdout).toContain(`${container()} has been running for`);
    expect(status.stdout).toMatch(/healthy, answers as third/);
    for (const command of ["release", "rollback"]) {
      const refused = await stack.togather(command);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toMatch(/togather:environment in Pulumi\..*\.yaml is development, which has no slots/);
    }
  });

  it("leaves nothing behind", async () => {
    expect((await stack.run("destroy")).ok).toBe(true);
    const filter = `label=org.togather.name=${stack.name}`;
    const { stdout } = await execa("sh", [
      "-c",
      `docker ps -aq --filter ${filter}; docker volume ls -q --filter ${filter}; docker network ls -q --filter ${filter}`,
    ]);
    expect(stdout).toBe("");
  });
});
