/** Canary and bake through a whole deployment, as an operator sees them. The watch itself: router.test.ts. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../cli/exit-codes.ts";
import { startLoad } from "./load.ts";
import { TestStack } from "./stack.ts";

// One deployment of production lives through its life in order: each test starts from what the one before left.
describe("a release by and by", () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.create("production");
    stack.set({
      rollout: { steps: [50, 100], interval: "4s", bake: "4s" },
      slots: { blue: await stack.commit("v1.0.0") },
      activeSlot: "blue",
    });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
  });
  afterAll(async () => {
    await stack.remove();
  });

  const serving = async (): Promise<{ slot: string | null; version: string }> => {
    const { slot, body } = await stack.secureGet("/health");
    return { slot: slot ?? null, version: String(body["version"]) };
  };
  const activeSlot = (): string | undefined =>
    /activeSlot: (\w+)/.exec(readFileSync(join(stack.directory, `Pulumi.${stack.name}.yaml`), "utf8"))?.[1];
  const handler = 'mux.HandleFunc("POST /api/v1/events", a.postEvent)';
  const failing =
    'mux.HandleFunc("POST /api/v1/events", func(w http.ResponseWriter, r *http.Request) { if time.Now().UnixNano()%5 == 0 { w.WriteHeader(500); return }; a.postEvent(w, r) })';

  it("gets its share, then all, and loses nothing", async () => {
    const { commit } = await stack.commit("v2.0.0");
    const load = startLoad(stack.ports.https, 4, 20, true);
    const { code, stdout, stderr } = await stack.togather("release", commit, "--version", "v2.0.0");
    const report = await load.stop();
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toContain("traffic moves blue to green, by 50 and 100 %, 4s each, and is watched for 4s");
    expect(report.lost).toEqual([]);
    expect(await serving()).toEqual({ slot: "green", version: "v2.0.0" });
  });

  it("is sent back by itself when a fifth of its requests fail: exit code, file, state and history say so", async () => {
    stack.edit("server/internal/httpapi/server.go", handler, failing);
    const { commit } = await stack.commit("v3.0.0");
    const load = startLoad(stack.ports.https, 4, 20, true);
    const { code, stdout, stderr } = await stack.togather("release", commit, "--version", "v3.0.0");
    const report = await load.stop();
    expect(code, `${stdout}\n${stderr}`).toBe(exitCodes.rolledBack.code);
    expect(stdout + stderr).toMatch(
      /blue \(v3\.0\.0\) got up to 50 % of the requests for [\d.]+ s, and all traffic goes to green again/,
    );
    // Only the release on trial failed requests.
    expect(report.lost.length).toBeGreaterThan(0);
    expect(report.lost.filter((line) => !line.endsWith(" blue 500"))).toEqual([]);
    expect(await serving()).toEqual({ slot: "green", version: "v2.0.0" });
    expect([activeSlot(), await stack.output("activeSlot"), await stack.output("version")]).toEqual([
      "green",
      "green",
      "v2.0.0",
    ]);
    expect((await stack.togather("history")).stdout).toMatch(/rolled back/);
    const stored = new Set((await stack.query("select id from events")).split("\n"));
    expect(report.acknowledged.filter((id) => !stored.has(id))).toEqual([]);
  });

  it("needs no cleaning up for the next one", async () => {
    stack.edit("server/internal/httpapi/server.go", failing, handler);
    const { commit } = await stack.commit("v4.0.0");
    const load = startLoad(stack.ports.https, 4, 20, true);
    const { code, stdout, stderr } = await stack.togather("release", commit, "--version", "v4.0.0");
    const report = await load.stop();
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(report.lost).toEqual([]);
    expect(await serving()).toEqual({ slot: "blue", version: "v4.0.0" });
    expect((await stack.togather("status")).stdout).toContain("No drift");
  });
});
