import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../step-harness.ts";
import { startLoad } from "./load.ts";
import { TestStack } from "./stack.ts";

// One deployment whose parts are made to disagree: each test starts where the previous one ended. The slot that served
// goes on serving, one `up` makes all agree again, and messages say what the router answers.
describe("a host that is not what Pulumi's state says", () => {
  let stack: TestStack;
  let v1: { version: string; commit: string };
  let v2: { version: string; commit: string };
  /** Pulumi's state as it was after the first release, and after the second. */
  let [afterFirst, afterSecond] = ["", ""];

  beforeAll(async () => {
    stack = await TestStack.create("production");
    v1 = await stack.commit("v1.0.0");
    stack.edit("server/main.go", "package main", "package main // second release");
    v2 = await stack.commit("v2.0.0");
    stack.set({ slots: { blue: v1 }, activeSlot: "blue" });
    const first = await stack.run("up");
    expect(first.ok, first.output).toBe(true);
    afterFirst = await stack.state();
    stack.set({ slots: { blue: v1, green: v2 }, activeSlot: "green" });
    const second = await stack.run("up");
    expect(second.ok, second.output).toBe(true);
    afterSecond = await stack.state();
  });
  afterAll(async () => {
    await stack.remove();
  });

  const container = (part: string): string => `togather-${stack.name}-${part}`;

  async function serving(): Promise<string | null> {
    return (await stack.secureGet("/health")).slot ?? null;
  }

  /** Moves the router without a record, as a killed step leaves it. */
  async function move(to: string, where: { memory?: boolean; file?: boolean }): Promise<void> {
    const commands = [
      ...(where.memory === true
        ? [
            `curl --silent --fail --unix-socket /router/run/control.sock -X PUT -d '{"slot":"${to}"}' http://router/slot`,
          ]
        : []),
      ...(where.file === true ? [`sed -i -E 's/"slot": ?"[a-z]+"/"slot":"${to}"/' /router/state/slot.json`] : []),
    ];
    await execa("docker", ["exec", container("router"), "sh", "-ec", commands.join("\n")]);
  }

  const inRouter = (script: string) => execa("docker", ["exec", container("router"), "sh", "-ec", script]);
  async function fileSlot(): Promise<unknown> {
    const { stdout } = await inRouter("cat /router/state/slot.json");
    return (JSON.parse(stdout) as { slot: unknown }).slot;
  }
  const stateFile = (): string => join(stack.directory, ".togather/deployment", stack.name, "deployment-state.json");
  const recorded = (): unknown =>
    (JSON.parse(readFileSync(stateFile(), "utf8")) as { active_slot: unknown }).active_slot;

  /**
   * Sentences about the serving slot that contradict the router's answer. `wanted` is the slot that a plan may name as
   * the one that is to serve.
   */
  function untrue(said: string, serves: string | null): string[] {
    const sentences = [
      /(?<!says that )\b(blue|green)(?: v\d\S*(?: \(\w+\))?)? serves\b/g,
      /the router sends requests to (blue|green)/g,
      /traffic stays on (blue|green)/g,
      /traffic moves (blue|green) to/g,
      /to serve, (blue|green) does/g,
      /\b(blue|green) goes on serving/g,
    ];
    const text = stripVTControlCharacters(said);
    return (
      sentences
        .flatMap((sentence) => [...text.matchAll(sentence)])
        // The router may send requests to a stopped slot.
        .filter(([sentence, slot]) => slot !== serves && !(serves === null && sentence.startsWith("the router sends")))
        .map(([sentence]) => `"${sentence}", while ${serves ?? "nothing"} answers`)
    );
  }

  it.each([
    ["memory and file", { memory: true, file: true }],
    ["memory", { memory: true }],
    ["file", { file: true }],
  ])("is brought back by one up, with no request lost: the router's %s on blue", async (_what, where) => {
    const before = await stack.containers();
    const load = startLoad(stack.ports.https, 4, 20, true);
    await move("blue", where);
    expect((await stack.togather("status")).stdout).toMatch(/Drift: .*(green to serve, blue does|come up on)/);
    expect((await stack.run("preview")).output).toMatch(/switch-traffic/);
    const up = await stack.togather("up");
    const report = await load.stop();
    expect(up.code, up.stderr).toBe(0);
    expect(up.stdout).toMatch(/^green serves v2\.0\.0/m);
    expect(up.stdout).not.toContain("Nothing to do");
    expect([await serving(), await fileSlot()]).toEqual(["green", "green"]);
    expect(report.lost).toEqual([]);
    expect(await stack.containers()).toEqual(before);
    const again = await stack.run("up");
    expect(Object.keys(again.changes), again.output).toEqual(["unchanged"]);
  });

  /** A difference between wanted, recorded and real state, made by hand. */
  interface Difference {
    what: string;
    make: () => Promise<unknown>;
    /** The slot that answers then; null: none can. */
    serves?: "blue" | "green" | null;
    /** The slot that serves after one `up`. Default: green, unless the stack file says otherwise. */
    wants?: "blue" | "green";
    /** Messages of both the status and the preview. */
    said?: RegExp[];
    /** The plan of the preview and the command. */
    plan?: string;
    undo?: () => Promise<unknown>;
  }
  const remove = (...parts: string[]) => execa("docker", ["rm", "--force", ...parts.map(container)]);
  const differences: Difference[] = [
    {
      what: "the state file is gone, and nginx is on blue",
      make: async () => {
        rmSync(stateFile());
        await move("blue", { memory: true });
      },
      serves: "blue",
      said: [/blue does|traffic moves blue to green/],
    },
    {
      what: "the router's file is damaged, the idle slot is stopped",
      make: async () => {
        await inRouter("echo '{' > /router/state/slot.json");
        await execa("docker", ["stop", "--time", "5", container("blue")]);
      },
      said: [/-blue is exited/],
    },
    {
      what: "the router's file is gone, and the stack file wants blue",
      make: async () => {
        await inRouter("rm /router/state/slot.json");
        stack.set({ activeSlot: "blue" });
      },
      wants: "blue",
      said: [/green does|traffic moves green to blue/],
      undo: async () => {
        stack.set({ activeSlot: "green" });
        const back = await stack.togather("up");
        expect(back.code, back.stderr).toBe(0);
      },
    },
    {
      what: "the idle slot's container is gone",
      make: () => remove("blue"),
      said: [/blue has no container/],
      plan: "blue's container is gone, and is made again with v1.0.0 (COMMIT); traffic stays on green",
    },
    {
      what: "the router's container is gone, and its file says blue",
      make: async () => {
        await move("blue", { file: true });
        await remove("router");
      },
      serves: null,
      said: [/the router has no container/],
    },
    {
      what: "the serving slot's container is gone",
      make: () => remove("green"),
      serves: null,
      said: [/green has no container/],
      plan: "green's container is gone, and is made again with v2.0.0 (COMMIT); traffic comes back to green",
    },
  ];

  it.each(differences)(
    "is made one by a single up, and nothing untrue is said: $what",
    async ({ make, serves = "green", wants = "green", said = [], plan, undo }) => {
      const before = await stack.containers();
      const load = startLoad(stack.ports.https, 4, 20, true);
      await make();
      const isUp = serves !== null;
      if (isUp) expect(await serving()).toBe(serves);
      const [status, preview] = await Promise.all([stack.togather("status"), stack.run("preview")]);
      const spoken = `${status.stdout}\n${status.stderr}\n${preview.output}`;
      expect(untrue(spoken, serves), spoken).toEqual([]);
      for (const sentence of said) {
        expect(status.stdout).toMatch(sentence);
        expect(preview.output).toMatch(sentence);
      }
      if (plan !== undefined) {
        expect(preview.output.replaceAll(/\(\w{7}\)/g, "(COMMIT)")).toContain(plan);
        const doctor = await stack.togather("doctor");
        expect(untrue(doctor.stdout, serves), doctor.stdout).toEqual([]);
        for (const sentence of said) expect(doctor.stdout).toMatch(sentence);
      }
      const refresh = await stack.run("refresh");
      expect(refresh.ok, refresh.output).toBe(true);
      if (isUp) expect(await serving()).toBe(serves);
      const up = await stack.togather("up");
      const report = await load.stop();
      expect(up.code, `${up.stdout}\n${up.stderr}`).toBe(0);
      const end = up.stdout
        .split("\n")
        .filter((line) => !line.startsWith("Deploying"))
        .join("\n");
      expect(untrue(end, wants), up.stdout).toEqual([]);
      const [first = ""] = up.stdout.split("\n").filter((line) => line.startsWith("Deploying"));
      expect(untrue(first, serves), up.stdout).toEqual([]);
      if (plan !== undefined) expect(first.replaceAll(/\(\w{7}\)/g, "(COMMIT)")).toContain(plan);
      expect([await serving(), await fileSlot(), recorded()]).toEqual([wants, wants, wants]);
      if (isUp) {
        expect(report.lost).toEqual([]);
        const served = serves === wants ? [before.get(container(wants))] : [];
        for (const id of served) expect((await stack.containers()).get(container(wants))).toBe(id);
      }
      expect((await stack.togather("status")).stdout).toContain("No drift");
      await undo?.();
    },
  );

  it("leaves nothing to do", async () => {
    const { code, stdout } = await stack.togather("up");
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Nothing to do: green serves/m)]);
  });

  it("is started again by one up, in order, and gated: all that was stopped", async () => {
    const before = await stack.containers();
    const parts = ["router", "green", "blue", "db"];
    await execa("docker", ["stop", "--time", "5", ...parts.map(container)]);
    const preview = await stack.run("preview");
    for (const part of parts)
      expect(preview.output).toContain(`${container(part)} is exited: pulumi up starts it again`);
    const up = await stack.togather("up");
    expect(up.code, `${up.stdout}\n${up.stderr}`).toBe(0);
    for (const part of parts) expect(up.stderr).toContain(`${container(part)} was exited, and is started again`);
    expect(up.stdout).toMatch(/^gate green +ok/m);
    expect(up.stdout).toMatch(/^green serves v2\.0\.0/m);
    expect(await serving()).toBe("green");
    expect(await stack.containers()).toEqual(before);
    const again = await stack.togather("up");
    expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/^Nothing to do: green serves/m)]);
  });

  // Docker tells no ports of a container that does not run: read so by a refresh, it would be made anew once it runs again.
  it("keeps its containers where Pulumi has read them while they were stopped, and says what a plain run interrupts", async () => {
    const before = await stack.containers();
    const stop = async (...parts: string[]): Promise<void> => {
      await execa("docker", ["stop", "--time", "5", ...parts.map(container)]);
      await stack.run("refresh");
    };
    await stop("router", "db");
    expect((await stack.run("preview")).output).toMatch(
      /Pulumi has read the database's and the router's container while it did not run.*, which INTERRUPTS: .* togather up keeps it/,
    );
    const up = await stack.togather("up");
    expect(up.code, `${up.stdout}\n${up.stderr}`).toBe(0);
    expect(`${up.stdout}${up.stderr}`).toMatch(/The state has them again. Once more:/);
    expect(up.stdout).not.toContain("INTERRUPTED");
    expect(up.stdout).toMatch(/^gate green +ok/m);
    expect(up.stdout).toMatch(/^green serves v2\.0\.0/m);
    expect(await serving()).toBe("green");
    expect(await stack.containers()).toEqual(before);

    await stop("router");
    await execa("docker", ["start", container("router")]);
    await eventually("the router answers", async () => (await serving()) === "green");
    const load = startLoad(stack.ports.https, 4, 20, true);
    const kept = await stack.togather("up");
    expect(kept.code, `${kept.stdout}\n${kept.stderr}`).toBe(0);
    expect((await load.stop()).lost).toEqual([]);
    expect(await stack.containers()).toEqual(before);

    await stop("router");
    const plain = await stack.run("up");
    expect(plain.ok, plain.output).toBe(true);
    expect(plain.output).toMatch(/Pulumi has read the router's container .*, which INTERRUPTS/);
    expect(await serving()).toBe("green");
    const again = await stack.togather("up");
    expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/^Nothing to do: green serves/m)]);
  });

  it("is taken into an older copy of Pulumi's state, with no request lost, and without touching what runs", async () => {
    const older = async (state: string): Promise<void> => {
      const file = join(stack.directory, ".togather/older.json");
      writeFileSync(file, state, { mode: 0o600 });
      await stack.pulumi(["stack", "import", "--file", file, "--stack", stack.name]);
    };
    for (const state of [afterFirst, afterSecond]) {
      await older(state);
      const before = await stack.containers();
      const load = startLoad(stack.ports.https, 4, 20, true);
      const refused = await stack.togather("up");
      expect(refused.code).not.toBe(0);
      expect(refused.stdout).toMatch(/does not know togather-[^]* or an older copy: togather import --stack/);
      const taken = await stack.togather("import");
      expect(taken.code, `${taken.stdout}\n${taken.stderr}`).toBe(0);
      expect(taken.stdout).toMatch(/^Taken into Pulumi's state: .*-router/m);
      expect(taken.stdout).toMatch(/green serves v2\.0\.0/);
      const { lost } = await load.stop();
      expect(lost).toEqual([]);
      expect(await stack.containers()).toEqual(before);
      const again = await stack.togather("up");
      expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/^Nothing to do: green serves/m)]);
    }
  });

  it("is taken as it is by a rollback: it goes by what serves", async () => {
    await move("blue", { memory: true, file: true });
    const { code, stdout, stderr } = await stack.togather("rollback");
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("blue goes on serving v1.0.0");
    expect([await serving(), await fileSlot()]).toEqual(["blue", "blue"]);
    expect((await stack.togather("status")).stdout).toContain("No drift");
  });

  it("keeps what serves until traffic has moved, also where the other slot is to be removed", async () => {
    await move("green", { memory: true, file: true });
    stack.set({ standby: "removed" });
    const load = startLoad(stack.ports.https, 4, 20, true);
    const up = await stack.togather("up");
    const report = await load.stop();
    expect(up.code, up.stderr).toBe(0);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["green", "blue"]);
    expect(await serving()).toBe("blue");
    expect([...(await stack.containers()).keys()]).not.toContain(container("green"));
  });
});
