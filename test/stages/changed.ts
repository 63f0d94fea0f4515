/**
 * `npm test -- --changed`: selects the tests that a change may affect. Imports show only some of them, since tests also
 * start programs, build images and read files. In doubt, a test runs.
 */
import { existsSync, globSync } from "node:fs";
import { extname, join } from "node:path";
import { build } from "esbuild";
import { Problem } from "../../toolchain/problem.ts";
import { run } from "../../toolchain/run.ts";
import { project } from "../../toolchain/setup.ts";

/** Everything that is deployed, and that deploys: a test's stack is a copy of it. A name with a slash is a folder. */
const product = [
  ...["cli/", "components/", "config/", "images/", "migrations/", "ops/", "server/", "stack/", "toolchain/"],
  ...["index.ts", "Pulumi.yaml", "Pulumi.development.yaml.example", "Pulumi.staging.yaml", "Pulumi.production.yaml"],
  "deployment.yml",
];
/** Sources of the steps, and of their containers. */
const steps = ["ops/", "images/"];

/** Files that tests use through an imported file, beyond its imports. */
const reached: Readonly<Record<string, readonly string[]>> = {
  "test/integration/stack.ts": product,
  "test/step-harness.ts": steps,
  "test/integration/router.test.ts": steps,
  "test/bench/traffic/site.ts": [...steps, "test/bench/traffic/"],
  "test/integration/lock.test.ts": ["test/integration/lock-holder.ts"],
  "test/integration/docker-host.ts": ["test/docker-host/"],
  "test/integration/old-node.ts": ["test/old-node/"],
  "test/integration/s3-storage.ts": ["test/s3-server/"],
  "test/integration/deployment.test.ts": ["test/samples/"],
  "test/integration/external.test.ts": ["test/samples/"],
  "test/integration/told-commands.ts": ["docs/snapshots.md"],
};

/** Settings and tools of all tests. */
const foundations = [
  ...[
    ".npmrc",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "vitest.config.ts",
    "test/run.ts",
    "test/stages/",
  ],
  // Files that start `npm test` itself.
  ...["toolchain/bootstrap.mjs", ".ci/"],
  // Before all of them.
  "test/integration/bundled-images.ts",
];
/** Read by no integration test, unless `reached` says so. */
const besideTests = [
  ...["docs/", ".github/", ".editorconfig", ".git-blame-ignore-revs", ".gitignore", ".prettierignore"],
  ...[".prettierrc.json", "eslint.config.js", "test/bench/", "test/one.ts", "test/samples/", "test/workflows/"],
  // For unit tests.
  ...["test/drawn-graph.ts", "test/fake-machine.ts", "test/graph.ts"],
];
/** Folders of the Go stage's modules, and of files that they read. */
const goPaths = ["server/", "toolchain/", "migrations/", "images/", "test/workflows/", ".github/"];

const isBelow = (file: string, paths: readonly string[]): boolean =>
  paths.some((path) => (path.endsWith("/") ? file.startsWith(path) : file === path));
const isUnitTest = (file: string): boolean => file.endsWith(".test.ts") && !file.startsWith("test/integration/");
const isText = (file: string): boolean => extname(file) === ".md" || /^(LICENSE|NOTICE)$/.test(file);

/** Files of this project that each file leads to by imports, itself among them. */
type Imports = ReadonlyMap<string, ReadonlySet<string>>;

/** @throws where an import leads nowhere. */
export async function importsOf(files: readonly string[]): Promise<Imports> {
  const { metafile } = await build({
    absWorkingDir: project,
    entryPoints: [...files],
    ...{ bundle: true, metafile: true, write: false, packages: "external", platform: "node", format: "esm" },
    ...{ outdir: "unwritten", logLevel: "silent" },
  });
  const follow = (file: string, found: Set<string>): Set<string> => {
    if (found.has(file)) return found;
    found.add(file);
    for (const { path, external = false } of metafile.inputs[file]?.imports ?? []) if (!external) follow(path, found);
    return found;
  };
  return new Map(files.map((file) => [file, follow(file, new Set())]));
}

/** Integration tests to run, with the first reason for each; or why all of them. */
export type Choice = { all: string } | { all?: undefined; files: ReadonlyMap<string, string> };

/** @param changed paths from the project's directory. @param imports of all integration tests. */
export function chooseTests(changed: readonly string[], imports: Imports): Choice {
  const files = new Map<string, string>();
  for (const file of changed) {
    if (isUnitTest(file)) continue;
    if (isBelow(file, foundations)) return { all: `${file} has changed` };
    let known = isBelow(file, [...product, ...besideTests]) || isText(file);
    for (const [test, imported] of imports) {
      const through = [...imported].find((part) => isBelow(file, reached[part] ?? []));
      if (!imported.has(file) && through === undefined) continue;
      known = true;
      const reason =
        file === test ? "it has changed" : imported.has(file) ? `imports ${file}` : `runs or reads ${file}`;
      if (!files.has(test)) files.set(test, reason);
    }
    if (!known) return { all: `what reads ${file} is not known (test/stages/changed.ts)` };
  }
  return { files };
}

/** The parts of `npm test` to run, with reasons. */
export interface Plan {
  /** Names of stages that are left out, with reasons. */
  without: ReadonlyMap<string, string>;
  tests: Choice;
}

export async function planFor(changed: readonly string[]): Promise<Plan> {
  const without = new Map<string, string>();
  if (changed.some((file) => isBelow(file, foundations))) return { without, tests: chooseTests(changed, new Map()) };
  if (!changed.some((file) => /\.(ts|mts|js|mjs|json)$/.test(file)))
    for (const stage of ["lint", "types"]) without.set(stage, "no TypeScript or JavaScript has changed");
  if (!changed.some((file) => isBelow(file, goPaths)))
    without.set("go", `nothing has changed in ${goPaths.join(", ")}`);
  const files = globSync("test/integration/**/*.test.ts", { cwd: project });
  let tests: Choice;
  try {
    tests = chooseTests(changed, await importsOf(files));
  } catch (error) {
    tests = { all: `imports can't be followed: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (tests.all === undefined && tests.files.size === 0) without.set("integration", "no test reaches what has changed");
  return { without, tests };
}

async function git(...args: string[]): Promise<string | undefined> {
  const { ok, stdout } = await run("git", args, { cwd: project, env: process.env });
  return ok ? stdout.trim() : undefined;
}

/** The commit to compare with: the named one, or the point where this branch left the main one. */
async function baseOf(reference: string | undefined): Promise<string> {
  if (reference !== undefined) {
    const commit = await git("rev-parse", "--verify", "--quiet", `${reference}^{commit}`);
    if (commit === undefined)
      throw new Problem(`There is no commit ${reference}. Name one: npm test -- --changed=HEAD~1, or main, or a tag.`);
    return commit;
  }
  for (const main of ["origin/HEAD", "origin/main", "main"]) {
    const base = await git("merge-base", main, "HEAD");
    if (base !== undefined) return base;
  }
  return "HEAD";
}

/**
 * Files that differ from a commit, committed or not.
 * @param reference default: the point where this branch left the main one.
 */
export async function changedFiles(reference?: string): Promise<{ since: string; files: string[] }> {
  const base = await baseOf(reference);
  const [differ, untracked] = [
    await git("diff", "--name-only", "--no-renames", "-z", base),
    await git("ls-files", "--others", "--exclude-standard", "-z"),
  ];
  if (differ === undefined || untracked === undefined)
    throw new Problem("Git can't say what has changed here. Run all tests: npm test");
  const files = [...new Set(`${differ}\0${untracked}`.split("\0"))].filter((file) => file !== "");
  return { since: (await git("log", "-1", "--format=%h %s", base)) ?? base, files: files.sort() };
}

/** Paths in the rules that do not exist: outdated rules. */
export function deadRules(): string[] {
  const paths = [...product, ...foundations, ...besideTests, ...goPaths, ...Object.keys(reached)];
  return [...paths, ...Object.values(reached).flat()].filter((path) => !existsSync(join(project, path)));
}
