import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { withLock } from "./lock.ts";
import { isAtLeast } from "./is-at-least.mjs";
import { findProgram, type Machine } from "./machine.ts";
import { Problem } from "./problem.ts";
import type { Installation } from "./installation.ts";
import { buildInContainer } from "./pulumi-container.ts";
import { run, tail } from "./run.ts";
import type { Report } from "./step.ts";
import { versionVariables, type Versions } from "./versions.ts";

const here = import.meta.dirname;

const keys = new Map<string, Promise<string>>();

/** Names a build by all that goes into it. Worked out once in a process: it reads every source file. */
export function buildKey(machine: Machine, versions: Versions): Promise<string> {
  const variables = versionVariables(versions);
  const ask = async () => {
    const { ok, stdout, output } = await run("sh", [join(here, "build.sh"), "--key"], {
      env: { ...machine.env, ...variables },
    });
    if (!ok) throw new Error(output);
    return stdout.slice(0, 16);
  };
  const question = JSON.stringify(variables);
  const key = keys.get(question) ?? ask();
  keys.set(question, key);
  return key;
}

/** Whether this machine's Go is what go.mod asks for, or can become so by itself (Go 1.21 and newer fetch a newer one). */
export async function hasGo(machine: Machine, module = here): Promise<boolean> {
  if (!findProgram("go", machine.env)) return false;
  const wanted = /^go (.+)/m.exec(readFileSync(join(module, "go.mod"), "utf8"))?.[1] ?? "0";
  const { ok, stdout } = await run("go", ["env", "GOVERSION"], { cwd: module, env: machine.env, timeLimit: 120_000 });
  return ok && isAtLeast(stdout, wanted);
}

async function buildHere(directory: string, machine: Machine, versions: Versions, report: Report): Promise<void> {
  const env = { ...machine.env, ...versionVariables(versions) };
  // "pulumi CLI ... " comes when it begins, the rest of the line when that is built.
  const onUnfinishedLine = (line: string) => {
    report(`Building: ${line.replace(/[ .]+$/, "")}`);
  };
  const { ok, output } = await run("sh", [join(here, "build.sh"), directory], { env, onUnfinishedLine });
  if (!ok) throw new Problem(`Pulumi could not be built from the Go module proxy:\n${tail(output)}`);
}

/** Builds Pulumi from the Go module proxy where downloads are out of reach, once for all clones of this user. */
export async function buildPulumi(machine: Machine, versions: Versions, report: Report): Promise<Installation> {
  const key = await buildKey(machine, versions);
  const builds = join(machine.cacheDirectory, "pulumi");
  const home = join(builds, key);
  const build = async () => {
    if (existsSync(home)) return;
    const unfinished = (await readdir(builds)).filter((name) => name.includes(".building"));
    for (const name of unfinished) await rm(join(builds, name), { recursive: true });
    const temporary = `${home}.building`;
    await mkdir(temporary);
    await ((await hasGo(machine)) ? buildHere : buildInContainer)(temporary, machine, versions, report);
    await rename(temporary, home);
  };
  if (!existsSync(home)) {
    const waiting = () => {
      report("Waiting for another clone, which is building it");
    };
    await withLock(join(builds, "lock"), waiting, build);
  }
  const command = join(home, "bin", "pulumi");
  const { stdout } = await run(command, ["version"], {
    env: { ...machine.env, PULUMI_HOME: home, PULUMI_SKIP_UPDATE_CHECK: "true" },
  });
  return { kind: "built", command, version: stdout.replace(/^v/, ""), home, key };
}
