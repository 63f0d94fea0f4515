// `npm test [-- [--changed[=COMMIT]] [STAGE...]]`: all checks and tests, the named stages, or those that a change may
// affect.
import { parseArgs } from "node:util";
import { thisMachine } from "../toolchain/machine.ts";
import { fail, Problem } from "../toolchain/problem.ts";
import { baseImage } from "../toolchain/base-image.ts";
import { dockerEngine } from "../toolchain/docker.ts";
import { localSteps, pulumiCommand, setUp } from "../toolchain/setup.ts";
import { changedFiles, planFor } from "./stages/changed.ts";
import { check } from "./stages/checks.ts";
import { goStage } from "./stages/go.ts";
import { describe, inLanes, slowest, sum, type Outcome, type Stage } from "./stages/stage.ts";
import { vitestProject } from "./stages/vitest.ts";

const machine = thisMachine();
const engine = [dockerEngine(machine), baseImage(machine)];

/** @param tests files of the integration tests to run; none means all. */
const allStages = (tests: readonly string[] = []): readonly Stage[] => [
  check("lint", "eslint", "."),
  check("format", "prettier", "--check", "--log-level", "warn", "."),
  check("types", "tsc", "--noEmit"),
  vitestProject({ name: "unit", beside: "integration", needs: [], environment: () => Promise.resolve(machine.env) }),
  goStage(machine, engine),
  vitestProject({
    name: "integration",
    needs: localSteps(machine),
    environment: async () => (await pulumiCommand(machine)).env,
    files: tests,
  }),
];

function choose(stages: readonly Stage[], names: readonly string[]): readonly Stage[] {
  const known = stages.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new Problem(`There is no stage ${unknown.join(", ")}. The stages are: ${known.join(", ")}.`);
  return names.length === 0 ? stages : stages.filter(({ name }) => names.includes(name));
}

/** The stages that a change may affect. Prints them, with reasons. */
async function chooseChanged(names: readonly string[], commit: string | undefined): Promise<readonly Stage[]> {
  const { since, files } = await changedFiles(commit);
  const { without, tests } = await planFor(files);
  console.log(`Since ${since}: ${files.length} changed ${files.length === 1 ? "file" : "files"}.`);
  const chosen = tests.all === undefined ? [...tests.files.keys()] : [];
  const stages = choose(allStages(chosen), names);
  for (const { name } of stages) {
    const reason = without.get(name);
    if (reason !== undefined) console.log(`  ${name.padEnd(12)}left out: ${reason}`);
    else if (name !== "integration") console.log(`  ${name.padEnd(12)}runs`);
    else if (tests.all !== undefined) console.log(`  ${name.padEnd(12)}runs, all of it: ${tests.all}`);
    else {
      console.log(`  ${name.padEnd(12)}runs, ${chosen.length} of its files:`);
      for (const [file, why] of tests.files) console.log(`    ${file}: ${why}`);
    }
  }
  return stages.filter(({ name }) => !without.has(name));
}

/** A stage that ran nothing proves nothing. */
function orNothingRan(counts: Outcome): Outcome {
  return counts.passed + counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

let interrupted = false;

type Result = Outcome & { name: string; seconds: number };

async function runStage(stage: Stage, quiet: boolean): Promise<Result> {
  if (!quiet) console.log(`\n── ${stage.name} ──`);
  const start = Date.now();
  let counts: Outcome = { passed: 0, failed: 1, skipped: 0 };
  try {
    counts = orNothingRan(await stage.run(quiet));
  } catch (error) {
    fail(error);
  }
  if (quiet)
    console.log(`\n── ${stage.name}: ${describe(counts)} ──${counts.failed > 0 ? `\n${counts.output ?? ""}` : ""}\n`);
  return { name: stage.name, ...counts, seconds: (Date.now() - start) / 1000 };
}

async function runInTurn(stages: readonly Stage[], quiet: boolean): Promise<Result[]> {
  const results: Result[] = [];
  for (const stage of stages) if (!interrupted) results.push(await runStage(stage, quiet));
  return results;
}

/** `--changed`, alone or with a commit: an option of both shapes is none that parseArgs knows. */
function readArguments(args: readonly string[]): { names: string[]; changed: boolean; commit: string | undefined } {
  const commit = args.find((arg) => arg.startsWith("--changed="))?.slice("--changed=".length);
  try {
    const { values, positionals } = parseArgs({
      args: args.map((arg) => (arg.startsWith("--changed=") ? "--changed" : arg)),
      options: { changed: { type: "boolean", default: false } },
      allowPositionals: true,
    });
    return { names: positionals, changed: values.changed, commit };
  } catch (error) {
    throw new Problem(
      `${error instanceof Error ? error.message : String(error)}\nUsage: npm test [-- [--changed[=COMMIT]] [STAGE...]]`,
    );
  }
}

async function main(args: readonly string[]): Promise<void> {
  // The stage that runs is interrupted with this process; what it started is cleaned up before the end.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (interrupted = true));
  const { names, changed, commit } = readArguments(args);
  const chosen = changed ? await chooseChanged(names, commit) : choose(allStages(), names);
  const needs = [...new Map(chosen.flatMap((stage) => stage.needs).map((step) => [step.title, step])).values()];
  await setUp(needs, { quiet: true });
  const { main, beside } = inLanes(chosen);
  const results = (await Promise.all([runInTurn(beside, true), runInTurn(main, false)])).flat();
  console.log("\n── result ──");
  for (const result of results)
    console.log(`${result.name.padEnd(12)}${describe(result).padEnd(36)}${result.seconds.toFixed(1).padStart(7)} s`);
  if (interrupted) console.log("Interrupted: the other stages did not run.");
  const tests = results.flatMap(({ tests = [] }) => tests);
  if (tests.length > 0) console.log(`\nThe slowest tests:\n${slowest(tests, 10).join("\n")}`);
  const total = sum(results);
  console.log(`\n${describe(total)}`);
  process.exitCode = total.failed > 0 || interrupted ? 1 : 0;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  fail(error);
}
