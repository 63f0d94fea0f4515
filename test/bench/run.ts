// `npm run bench [-- NAME...]`: figures that are too slow or too noisy for a test, each against a baseline of the same run.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { thisMachine } from "../../toolchain/machine.ts";
import { fail, Problem } from "../../toolchain/problem.ts";
import { localSteps, pulumiCommand, setUp } from "../../toolchain/setup.ts";
import { benchDeployments } from "./deployments.ts";
import { benchJudge } from "./judge.ts";
import { benchPreview } from "./preview.ts";
import { markdownTable, type Comparison } from "./report.ts";
import { benchSnapshots } from "./snapshots.ts";
import { benchTraffic } from "./traffic/traffic.ts";

const benches: Partial<Record<string, (progress: (line: string) => void) => Promise<Comparison[]>>> = {
  deployments: benchDeployments,
  judge: benchJudge,
  preview: benchPreview,
  snapshots: benchSnapshots,
  traffic: benchTraffic,
};

async function main(names: readonly string[]): Promise<void> {
  const machine = thisMachine();
  await setUp(localSteps(machine), { quiet: true });
  // The programs of the benches find the same tools as `npm start`.
  Object.assign(process.env, (await pulumiCommand(machine)).env);
  const comparisons: Comparison[] = [];
  for (const name of names.length === 0 ? Object.keys(benches) : names) {
    const bench = benches[name];
    if (bench === undefined)
      throw new Problem(`There is no bench ${name}. The benches are: ${Object.keys(benches).join(", ")}.`);
    comparisons.push(
      ...(await bench((line) => {
        console.log(`${name}: ${line}`);
      })),
    );
  }
  const table = markdownTable(comparisons);
  const directory = join(import.meta.dirname, "../../bench-results");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "table.md"), `${table}\n`);
  console.log(`\n${table}\n\nwritten to bench-results/table.md`);
  if (comparisons.some(({ met }) => !met)) process.exitCode = 1;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  fail(error);
}
