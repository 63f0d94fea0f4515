import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Installation } from "./installation.ts";
import { findProgram, type Machine } from "./machine.ts";
import { buildKey, buildPulumi } from "./pulumi-build.ts";
import { downloadPulumi, missingPlugins, usePulumiOnPath, userPulumiHome } from "./pulumi-official.ts";
import type { Report, Step } from "./step.ts";
import { installedVersions, type Versions } from "./versions.ts";

/** The ways to a CLI, the best first. The last one finds a way or says what to do. */
export const suppliers = [usePulumiOnPath, downloadPulumi, buildPulumi];

/** The installation found last time, with all that could change it: only the first command has to run Pulumi. */
interface Stamp {
  installation: Installation;
  versions: Versions;
  /** The `pulumi` on PATH, by path, size and time. */
  onPath: string | undefined;
}

const stampFile = (project: string) => join(project, ".togather", "pulumi.json");

function pulumiOnPath(machine: Machine): string | undefined {
  const file = findProgram("pulumi", machine.env);
  if (!file) return undefined;
  const { size, mtimeMs } = statSync(file);
  return `${file} ${size} ${mtimeMs}`;
}

function readStamp(project: string): Stamp | undefined {
  try {
    return JSON.parse(readFileSync(stampFile(project), "utf8")) as Stamp;
  } catch {
    return undefined;
  }
}

/** The installation that was found before, when nothing has changed since. */
export async function knownPulumi(machine: Machine, project: string): Promise<Installation | undefined> {
  const stamp = readStamp(project);
  if (!stamp) return undefined;
  const { installation } = stamp;
  const versions = installedVersions(project);
  const unchanged =
    isDeepStrictEqual(stamp.versions, versions) &&
    stamp.onPath === pulumiOnPath(machine) &&
    existsSync(installation.command) &&
    missingPlugins(installation.home ?? userPulumiHome(machine.env), versions).length === 0 &&
    (installation.kind !== "built" || installation.key === (await buildKey(machine, versions)));
  return unchanged ? installation : undefined;
}

/** Finds or makes an installation, and remembers it. */
export async function supplyPulumi(
  machine: Machine,
  project: string,
  report: Report,
  ways = suppliers,
): Promise<Installation> {
  const versions = installedVersions(project);
  for (const supplier of ways) {
    const installation = await supplier(machine, versions, report);
    if (!installation) continue;
    mkdirSync(dirname(stampFile(project)), { recursive: true });
    const stamp: Stamp = { installation, versions, onPath: pulumiOnPath(machine) };
    writeFileSync(stampFile(project), JSON.stringify(stamp, undefined, 2));
    return installation;
  }
  throw new Error("no way to a Pulumi CLI");
}

function describe({ kind, version, command }: Installation): string {
  const origin = { official: command, downloaded: "the official download", built: "built from the Go module proxy" };
  return `${version} (${origin[kind]})`;
}

export function pulumi(machine: Machine, project: string): Step {
  return {
    title: "Pulumi and its plugins",
    async check() {
      const known = await knownPulumi(machine, project);
      return known && describe(known);
    },
    supply: async (report) => describe(await supplyPulumi(machine, project, report)),
  };
}
