import { join } from "node:path";
import { hasGo } from "../../toolchain/pulumi-build.ts";
import { buildToolchainImage } from "../../toolchain/pulumi-container.ts";
import type { Machine } from "../../toolchain/machine.ts";
import { Problem } from "../../toolchain/problem.ts";
import { run, tail } from "../../toolchain/run.ts";
import { project } from "../../toolchain/setup.ts";
import type { Report, Step } from "../../toolchain/step.ts";
import { installedVersions } from "../../toolchain/versions.ts";
import { withScratchPostgres, type ScratchPostgres } from "./scratch-postgres.ts";
import { asCounts, sum, type Counts, type Outcome, type Stage, type TimedTest } from "./stage.ts";

/** Go modules with code of our own, and the variables by which their tests find a database. */
const MODULES = [
  { directory: "server", databaseVariable: "TEST_DATABASE_URL", database: "server" },
  { directory: "toolchain", databaseVariable: "TEST_POSTGRES_URL", database: "toolchain" },
  { directory: "toolchain/docker", databaseVariable: "TEST_POSTGRES_URL", database: "docker" },
  { directory: "images/ops/river-migrate", databaseVariable: "TEST_DATABASE_URL", database: "river" },
  { directory: "test/workflows", databaseVariable: "TEST_DATABASE_URL", database: "workflows" },
];
type Module = (typeof MODULES)[number];

/** One line of `go test -json`. */
interface GoEvent {
  Action: string;
  Package?: string;
  ImportPath?: string;
  Test?: string;
  Output?: string;
  /** Seconds. */
  Elapsed?: number;
}

/** Counts the tests of `go test -json`; a package that fails without a failed test counts as one. */
export class GoTests {
  readonly #outcome = new Map<string, string>();
  readonly #output = new Map<string, string>();
  readonly #failedPackages = new Set<string>();
  readonly tests: TimedTest[] = [];

  /** @returns what is worth showing of this line. */
  add(line: string): string {
    let event: GoEvent;
    try {
      event = JSON.parse(line) as GoEvent;
    } catch {
      return `${line}\n`;
    }
    const { Action, Package = "", Test, Output = "" } = event;
    if (Action === "build-output") return Output;
    if (Test === undefined) {
      if (Action === "fail") this.#failedPackages.add(Package);
      return Action === "output" && /^(ok|FAIL)\s+\S/.test(Output) ? Output : "";
    }
    const id = `${Package} ${Test}`;
    if (Action === "output") this.#output.set(id, (this.#output.get(id) ?? "") + Output);
    if (!["pass", "fail", "skip"].includes(Action)) return "";
    this.#outcome.set(id, Action);
    this.tests.push({ file: Package, name: Test, seconds: event.Elapsed ?? 0 });
    return Action === "fail" ? (this.#output.get(id) ?? "") : "";
  }

  get counts(): Counts {
    const ids = [...this.#outcome.keys()];
    const count = (action: string) => ids.filter((id) => this.#outcome.get(id) === action).length;
    const broken = [...this.#failedPackages].filter(
      (name) => !ids.some((id) => id.startsWith(`${name} `) && this.#outcome.get(id) === "fail"),
    );
    return { passed: count("pass"), failed: count("fail") + broken.length, skipped: count("skip") };
  }
}

/** The command line of `go` for a module. */
type Go = (
  module: Module,
  args: readonly string[],
) => { command: string; args: readonly string[]; env: NodeJS.ProcessEnv; cwd?: string };

const goHere =
  (machine: Machine, postgres: ScratchPostgres): Go =>
  ({ directory, databaseVariable, database }, args) => ({
    command: "go",
    args,
    cwd: join(project, directory),
    env: { ...machine.env, [databaseVariable]: postgres.url(database) },
  });

/** Takes text that is to be read. */
type Show = (text: string) => unknown;

/** Go from the build stages of our own images, which have compiled nearly everything that the tests need. */
async function goInContainer(machine: Machine, postgres: ScratchPostgres, show: Show): Promise<Go> {
  show("There is no Go that is new enough: testing in containers ...\n");
  const serverImage = "togather-test-go-server";
  const toolchainImage = "togather-test-go-toolchain";
  const script =
    'set -o pipefail; tar -c server migrations | docker build --target build --tag "$0" -f server/Dockerfile -';
  const built = await run("bash", ["-c", script, serverImage], { cwd: project, env: machine.env });
  if (!built.ok) throw new Problem(`The image with Go could not be built:\n${tail(built.output)}`);
  const report: Report = Object.assign((line: string) => show(`${line}\n`), { detail: () => undefined });
  await buildToolchainImage(toolchainImage, "build", machine, installedVersions(project), report);
  return ({ directory, databaseVariable, database }, args) => ({
    command: "docker",
    args: [
      ...[
        "run",
        "--rm",
        "--network",
        `container:${postgres.container}`,
        "--volume",
        `${project}:/project:ro`,
        "--workdir",
        `/project/${directory}`,
      ],
      ...["--env", databaseVariable, directory.startsWith("toolchain") ? toolchainImage : serverImage, "go", ...args],
    ],
    env: { ...machine.env, [databaseVariable]: postgres.urlInside(database) },
  });
}

async function testModule(go: Go, module: Module, show: Show): Promise<Outcome[]> {
  const vet = go(module, ["vet", "./..."]);
  const vetted = await run(vet.command, vet.args, { ...vet, onLine: (line) => show(`${line}\n`) });
  show(`${vetted.ok ? "ok  " : "FAIL"}\tgo vet ${module.directory}\n`);
  const tests = new GoTests();
  const test = go(module, ["test", "-json", "./..."]);
  const tested = await run(test.command, test.args, { ...test, onLine: (line) => show(tests.add(line)) });
  const counts: Outcome = { ...tests.counts, tests: tests.tests };
  return [asCounts(vetted.ok ? 0 : 1), !tested.ok && counts.failed === 0 ? { ...counts, failed: 1 } : counts];
}

/** Vet and tests of the Go modules, against a real PostgreSQL. */
export function goStage(machine: Machine, needs: readonly Step[]): Stage {
  return {
    name: "go",
    needs,
    // After what builds images for the integration tests, and with the layers that it leaves.
    beside: "integration",
    run: (quiet) => {
      const shown: string[] = [];
      const show: Show = quiet ? (text) => shown.push(text) : (text) => process.stdout.write(text);
      return withScratchPostgres(
        MODULES.map(({ database }) => database),
        show,
        async (postgres) => {
          const go = (await hasGo(machine, join(project, "server")))
            ? goHere(machine, postgres)
            : await goInContainer(machine, postgres, show);
          const outcomes: Outcome[] = [];
          for (const module of MODULES) outcomes.push(...(await testModule(go, module, show)));
          const tests = outcomes.flatMap(({ tests = [] }) => tests);
          return { ...sum(outcomes), tests, output: shown.join("") };
        },
      );
    },
  };
}
