// `npm test [-- STAGE...]`: all checks and tests, or the named stages of them.
import { thisMachine } from "../toolchain/machine.ts";
import { fail, Problem } from "../toolchain/problem.ts";
import { baseImage } from "../toolchain/base-image.ts";
import { dockerEngine } from "../toolchain/docker.ts";
import { localSteps, pulumiCommand, setUp } from "../toolchain/setup.ts";
import { check } from "./stages/checks.ts";
import { goStage } from "./stages/go.ts";
import { describe, slowest, sum, type Outcome, type Stage } from "./stages/stage.ts";
import { vitestProject } from "./stages/vitest.ts";

const machine = thisMachine();
const engine = [dockerEngine(machine), baseImage(machine)];
const stages: readonly Stage[] = [
  check("lint", "eslint", "."),
  check("format", "prettier", "--check", "--log-level", "warn", "."),
  check("types", "tsc", "--noEmit"),
  goStage(machine, engine),
  vitestProject("unit", [], () => Promise.resolve(machine.env)),
  vitestProject("integration", localSteps(machine), async () => (await pulumiCommand(machine)).env),
];

function choose(names: readonly string[]): readonly Stage[] {
  const known = stages.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new Problem(`There is no stage ${unknown.join(", ")}. The stages are: ${known.join(", ")}.`);
  return names.length === 0 ? stages : stages.filter(({ name }) => names.includes(name));
}

/** A stage that ran nothing has proved nothing. */
function orNothingRan(counts: Outcome): Outcome {
  return counts.passed + counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

let interrupted = false;

async function runStage(stage: Stage): Promise<Outcome & { name: string; seconds: number }> {
  console.log(`\n── ${stage.name} ──`);
  const start = Date.now();
  let counts: Outcome = { passed: 0, failed: 1, skipped: 0 };
  try {
    counts = orNothingRan(await stage.run());
  } catch (error) {
    fail(error);
  }
  return { name: stage.name, ...counts, seconds: (Date.now() - start) / 1000 };
}

async function main(names: readonly string[]): Promise<void> {
  // The stage that runs is interrupted with this process; what it started is cleaned up before the end.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (interrupted = true));
  const chosen = choose(names);
  const needs = [...new Map(chosen.flatMap((stage) => stage.needs).map((step) => [step.title, step])).values()];
  await setUp(needs, { quiet: true });
  const results = [];
  for (const stage of chosen) if (!interrupted) results.push(await runStage(stage));
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
