// `node toolchain/bootstrap.mjs FILE [ARGS]` runs a TypeScript file of this project on a machine that may have
// nothing but Node >= 20, npm and Git: it installs the npm packages when package-lock.json changed, picks a Node
// that runs TypeScript, and hands over. Plain JavaScript without dependencies: nothing is installed yet.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { foreground } from "./foreground.mjs";
import { isAtLeast } from "./is-at-least.mjs";

/** The oldest Node for npm and this file. */
const OLDEST_NODE = "20.0.0";
/** The first Node that runs TypeScript without a flag. */
const TYPESCRIPT_NODE = "22.18.0";

const NPM_OPTIONS = [
  // None of the packages needs a script, and one that wants one had better be looked at first.
  "--ignore-scripts",
  "--include=dev",
  "--prefer-offline",
  "--no-audit",
  "--no-fund",
  // Packages that warn of this Node are run with a newer one.
  "--loglevel=error",
  "--fetch-retries=2",
  "--fetch-timeout=120000",
];

const project = dirname(dirname(fileURLToPath(import.meta.url)));

class Problem extends Error {}

function checkMachine() {
  if (process.platform === "win32") {
    throw new Problem(
      "Windows itself cannot run this project: run it in WSL 2 (`wsl --install`), with the clone inside WSL's own file system.",
    );
  }
  if (!isAtLeast(process.versions.node, OLDEST_NODE)) {
    throw new Problem(
      `Node ${process.versions.node} is too old: install Node 24 (https://nodejs.org) and run this again.`,
    );
  }
  if (spawnSync("git", ["--version"]).error) {
    throw new Problem(
      "Git is not installed: install it (Debian: apt-get install git; macOS: xcode-select --install) and run this again.",
    );
  }
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** Whether node_modules holds what package-lock.json says, whoever installed it. */
export function packagesMatch(lock, installed) {
  if (!installed?.packages) return false;
  return Object.entries(lock.packages).every(
    ([path, wanted]) => path === "" || wanted.optional || installed.packages[path]?.version === wanted.version,
  );
}

/** `npm` of the run that called this, so that its version and configuration are the user's. */
function npmCommand() {
  const script = process.env.npm_execpath;
  return script && basename(script).startsWith("npm")
    ? [process.env.npm_node_execpath ?? process.execPath, script]
    : ["npm"];
}

async function installPackages() {
  console.log("Installing the npm packages (npm ci) ...");
  const start = Date.now();
  const [command, ...args] = npmCommand();
  const code = await foreground(command, [...args, "ci", ...NPM_OPTIONS], { cwd: project }).catch((error) => {
    throw new Problem(`npm could not be started (${error.code}): install npm and run this again.`);
  });
  if (code !== 0) {
    throw new Problem(
      "The npm packages could not be installed; npm's own message is above. Without a network, copy node_modules from a machine that has one.",
    );
  }
  console.log(`Installed them in ${((Date.now() - start) / 1000).toFixed(1)} s.`);
}

/** Installs the npm packages when needed, and says which Node runs this project's TypeScript. */
async function prepare() {
  const lockText = readFileSync(join(project, "package-lock.json"), "utf8");
  const lockHash = createHash("sha256").update(lockText).digest("hex");
  const modules = join(project, "node_modules");
  const packagedNode = join(modules, ".bin", "node");
  const stampFile = join(modules, ".togather-stamp.json");
  let stamp = readJson(stampFile);
  if (stamp?.packageLock !== lockHash) {
    const lock = JSON.parse(lockText);
    if (!packagesMatch(lock, readJson(join(modules, ".package-lock.json")))) await installPackages();
    // It is asked for its version, because the one from npm cannot run everywhere (musl, other processors).
    stamp = { packageLock: lockHash, packagedNodeRuns: spawnSync(packagedNode, ["--version"]).status === 0 };
    writeFileSync(stampFile, JSON.stringify(stamp));
  }
  if (stamp.packagedNodeRuns && existsSync(packagedNode)) return packagedNode;
  if (isAtLeast(process.versions.node, TYPESCRIPT_NODE)) return process.execPath;
  throw new Problem(
    `Node ${process.versions.node} cannot run TypeScript, and npm has no newer one for ${process.platform} ${process.arch}: ` +
      `install Node 24 (https://nodejs.org) and run this again.`,
  );
}

async function main([file, ...args]) {
  if (!file) throw new Problem("Usage: node toolchain/bootstrap.mjs FILE [ARGS]");
  checkMachine();
  const node = await prepare();
  const modules = join(project, "node_modules");
  const script = resolve(project, file);
  const env = {
    // Compiled code is kept, also for the programs that Pulumi starts: halves what loading takes.
    NODE_COMPILE_CACHE: join(modules, ".cache", "node"),
    ...process.env,
    PATH: [join(modules, ".bin"), process.env.PATH].join(delimiter),
  };
  if (realpathSync(node) !== realpathSync(process.execPath)) {
    process.exitCode = await foreground(node, [script, ...args], { cwd: project, env });
    return;
  }
  // This Node is the one, as in every \`npm run\` after the first: another process would take as long as all of the above.
  process.chdir(project);
  Object.assign(process.env, env);
  process.argv = [process.execPath, script, ...args];
  nodeModule.enableCompileCache?.(env.NODE_COMPILE_CACHE);
  await import(pathToFileURL(script).href);
}

/** Runs a file of this project, and says what is in its way. @param args the file and its arguments. */
export async function bootstrap(args) {
  await main(args).catch((error) => {
    console.error(error instanceof Problem ? `\n${error.message}` : error);
    process.exitCode = 1;
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  await bootstrap(process.argv.slice(2));
