import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { countChanges, TestStack } from "../integration/stack.ts";
import { median, type Comparison } from "./report.ts";

/** Counted runs of each program, after one that warms up. */
const runs = 7;

/** The baseline: an empty TypeScript program with the same SDK, run in the same way. No stack can be faster. */
async function emptyProgram(): Promise<{ preview: () => Promise<number>; remove: () => void }> {
  const directory = mkdtempSync(join(tmpdir(), "togather-bench-empty-"));
  writeFileSync(join(directory, "package.json"), '{ "name": "empty", "type": "module", "main": "index.ts" }\n');
  writeFileSync(
    join(directory, "Pulumi.yaml"),
    "name: empty\nmain: index.ts\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n",
  );
  writeFileSync(
    join(directory, "index.ts"),
    'import * as pulumi from "@pulumi/pulumi";\nexport const stack: string = pulumi.getStack();\n',
  );
  symlinkSync(join(import.meta.dirname, "../../node_modules"), join(directory, "node_modules"));
  mkdirSync(join(directory, "state"));
  // The baseline runs without this project's settings for a faster start.
  const env = {
    PULUMI_BACKEND_URL: `file://${join(directory, "state")}`,
    PULUMI_CONFIG_PASSPHRASE: "bench",
    NODE_COMPILE_CACHE: undefined,
  };
  const pulumi = (...args: string[]): Promise<unknown> =>
    execa("pulumi", [...args, "--non-interactive"], { cwd: directory, env });
  await pulumi("stack", "init", "bench");
  await pulumi("up", "--stack", "bench", "--yes", "--skip-preview");
  return {
    async preview() {
      const started = performance.now();
      await pulumi("preview", "--stack", "bench");
      return performance.now() - started;
    },
    remove() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/**
 * A no-op `npm run pulumi -- preview` of a deployed stack, from outside, against one of an empty program, in turn in
 * one run. Target: at most 1.3 times.
 */
export async function benchPreview(progress: (line: string) => void): Promise<Comparison[]> {
  progress("deploying a stack to preview");
  const stack = await TestStack.create();
  const empty = await emptyProgram();
  try {
    const release = await stack.commit("v1.0.0");
    stack.set({ slots: { blue: release }, activeSlot: "blue" });
    const up = await stack.run("up");
    if (!up.ok) throw new Error(up.output);
    const ours: number[] = [];
    const baseline: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const base = await empty.preview();
      const started = performance.now();
      const said = await stack.npmRun(`pulumi -- preview --stack ${stack.name} --non-interactive --color=never`);
      const preview = performance.now() - started;
      if (Object.keys(countChanges(said)).join() !== "unchanged")
        throw new Error(`the preview is not a no-op:\n${said}`);
      progress(`run ${run} of ${runs}: ours ${Math.round(preview)} ms, empty program ${Math.round(base)} ms`);
      if (run === 0) continue;
      ours.push(preview);
      baseline.push(base);
    }
    return [
      {
        name: "no-op `npm run pulumi -- preview`, against a bare preview of an empty TypeScript program",
        unit: "ms",
        ours: median(ours),
        baseline: median(baseline),
        target: "<= 1.3",
        met: median(ours) / median(baseline) <= 1.3,
      },
    ];
  } finally {
    await stack.run("destroy");
    await stack.remove();
    empty.remove();
  }
}
