import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { isAtLeast } from "./is-at-least.mjs";
import { findProgram, type Machine } from "./machine.ts";
import type { Installation } from "./installation.ts";
import { run, tail } from "./run.ts";
import type { Report } from "./step.ts";
import type { Versions } from "./versions.ts";

/** The oldest CLI that the SDK in package.json works with. */
const OLDEST_CLI = "3.200.0";
/** Time limit for work that should be quick, or start at once, in ms: a firewall may drop everything. */
const PATIENCE = 20_000;
const DOWNLOAD_LIMIT = 300_000;

/** Directory of plugins, credentials and workspaces of an official Pulumi. */
export function userPulumiHome(env: NodeJS.ProcessEnv): string {
  return env.PULUMI_HOME ?? join(env.HOME ?? homedir(), ".pulumi");
}

/** The plugins that are not in a PULUMI_HOME yet. */
export function missingPlugins(home: string, versions: Versions): [name: string, version: string][] {
  return Object.entries(versions.plugins).filter(([name, version]) => {
    const directory = join(home, "plugins", `resource-${name}-v${version}`);
    return !existsSync(join(directory, `pulumi-resource-${name}`)) || existsSync(`${directory}.partial`);
  });
}

/** Downloads missing plugins with the CLI itself; false when one can't be had. */
async function installPlugins(
  command: string,
  versions: Versions,
  machine: Machine,
  timeLimit: number,
  report: Report,
): Promise<boolean> {
  for (const [name, version] of missingPlugins(userPulumiHome(machine.env), versions)) {
    report(`Downloading the ${name} plugin ${version}`);
    const env = { ...machine.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
    const { ok, output } = await run(command, ["plugin", "install", "resource", name, version, "--non-interactive"], {
      env,
      timeLimit,
      onLine: report.detail,
    });
    if (!ok) {
      report(`The ${name} plugin can't be downloaded: ${tail(output, 1).trim()}`);
      return false;
    }
  }
  return true;
}

/** The user's own `pulumi`, used as it is. */
export async function usePulumiOnPath(
  machine: Machine,
  versions: Versions,
  report: Report,
): Promise<Installation | undefined> {
  const command = findProgram("pulumi", machine.env);
  if (!command) return undefined;
  const env = { ...machine.env, PULUMI_SKIP_UPDATE_CHECK: "true" };
  const { stdout } = await run(command, ["version"], { env, timeLimit: PATIENCE });
  const version = stdout.replace(/^v/, "");
  if (!isAtLeast(version, OLDEST_CLI)) {
    report(`${command} is ${version || "of an unknown version"}, and the SDK needs ${OLDEST_CLI}: it's left alone`);
    return undefined;
  }
  if (!(await installPlugins(command, versions, machine, PATIENCE, report))) return undefined;
  return { kind: "official", command, version };
}

/** The official download, of the SDK's own version, into the cache directory. */
export async function downloadPulumi(
  machine: Machine,
  versions: Versions,
  report: Report,
): Promise<Installation | undefined> {
  const root = join(machine.cacheDirectory, "pulumi", `official-${versions.pulumi}`);
  const command = join(root, "bin", "pulumi");
  if (!existsSync(command)) {
    report(`Trying the official download of Pulumi ${versions.pulumi}`);
    const temporary = `${root}.downloading-${process.pid}`;
    await mkdir(dirname(root), { recursive: true });
    const script = join(import.meta.dirname, "download-pulumi.ts");
    const env = { ...machine.env, NODE_USE_ENV_PROXY: "1" };
    const { ok, output } = await run(process.execPath, [script, versions.pulumi, temporary], {
      env,
      timeLimit: DOWNLOAD_LIMIT,
      onLine: report.detail,
    });
    if (ok && !existsSync(root)) await rename(temporary, root);
    await rm(temporary, { recursive: true, force: true });
    if (!ok) {
      report(`The official download can't be had: ${tail(output, 1).trim()}`);
      return undefined;
    }
  }
  if (!(await installPlugins(command, versions, machine, DOWNLOAD_LIMIT, report))) return undefined;
  return { kind: "downloaded", command, version: versions.pulumi };
}
