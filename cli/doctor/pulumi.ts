import { findHalfMade } from "../../ops/host/half-made.ts";
import { hostLockHolder, lockFile } from "../../ops/host/host-lock.ts";
import { readInterruptedState, resourceName } from "../../ops/host/pending-operations.ts";
import { missingPlugins, userPulumiHome } from "../../toolchain/pulumi-official.ts";
import { installedVersions } from "../../toolchain/versions.ts";
import { describeLock, holderOf, holderWords, type BackendLock } from "../deploy/backend-lock.ts";
import { longOutput } from "../deploy/long-output.ts";
import type { PulumiStack } from "../deploy/pulumi-stack.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

/** The oldest CLI with all features that are used here (`refresh --clear-pending-creates`, structured config). */
const oldestCli = "3.100.0";

/** The CLI and its plugins. */
async function programFindings({ cli }: PulumiStack, project: string): Promise<Finding[]> {
  const { version, command, kind, home } = cli;
  const versions = installedVersions(project);
  const missing = missingPlugins(home ?? userPulumiHome(process.env), versions);
  const plugins = Object.entries(versions.plugins)
    .map(([plugin, number]) => `${plugin} ${number}`)
    .join(", ");
  const { default: semver } = await import("semver");
  return [
    semver.lt(version, oldestCli)
      ? fail(
          "pulumi",
          `${version} (${command})`,
          `${oldestCli} or newer`,
          "npm start supplies one; or https://www.pulumi.com/docs/install/",
        )
      : ok("pulumi", `${version}, ${kind} (${command})`),
    missing.length === 0
      ? ok("plugins", plugins)
      : fail(
          "plugins",
          `missing: ${missing.map((one) => one.join(" ")).join(", ")}`,
          plugins,
          missing.map(([plugin, number]) => `pulumi plugin install resource ${plugin} ${number}`).join("; "),
        ),
  ];
}

/** The lock of the Docker host. */
async function hostLockFinding({ name, host }: Pick<PlainSettings, "name" | "host">): Promise<Finding> {
  const holder = await hostLockHolder(name, host);
  return holder === undefined
    ? ok("lock of the host", `${lockFile(name)} is free`)
    : warn(
        "lock of the host",
        `held by ${holder.held_by} (pid ${holder.pid}) since ${holder.since}`,
        "free: nobody deploys",
        "wait until that deployment has ended",
      );
}

/** The locks of the backend. No findings where it can't be asked without taking one. */
function backendLockFindings(locks: readonly BackendLock[] | undefined, stack: string): Finding[] {
  const unlock = invocation(`unlock --stack ${stack}`);
  if (locks?.length === 0) return [ok("lock of the backend", "free")];
  return (locks ?? []).map((lock) => {
    const holder = holderOf(lock);
    const left = holder === "gone";
    return warn(
      "lock of the backend",
      left ? `left by ${describeLock(lock)}` : `held by ${describeLock(lock)}: ${holderWords[holder]}`,
      "free",
      left ? `the next deployment removes it; or ${unlock}` : `wait until it has ended; ${unlock} says more`,
    );
  });
}

/** Obstacles in the state for a deployment, and remains of a killed one. */
async function stateFindings(
  exported: string | undefined,
  stack: string,
  { name, host }: Pick<PlainSettings, "name" | "host">,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const long = exported === undefined ? [] : longOutput(exported);
  if (long.length > 0) {
    findings.push(
      warn(
        "output of steps",
        `the state holds so much output of ${long.join(", ")} that Linux starts no program with it ("argument list too long")`,
        "100,000 bytes at most for each step",
        `${invocation(`up --stack ${stack}`)}, like release and rollback, takes it out as soon as such a step has to run; pulumi up alone can't`,
      ),
    );
  }
  const state = exported === undefined ? undefined : readInterruptedState(exported);
  const pending = state?.pending ?? [];
  if (state === undefined || pending.length === 0) return [...findings, ok("pending operations", "none")];
  const made = await findHalfMade({ name, host, serving: undefined }, state);
  findings.push(
    warn(
      "pending operations",
      `a run was killed at: ${pending.map(({ operation, urn }) => `${operation} ${resourceName(urn)}`).join(", ")}${made.length === 0 ? "" : `; half-made: ${made.map((one) => one.name).join(", ")}`}`,
      "none",
      `${invocation(`up --stack ${stack}`)} goes on from there, and clears them`,
    ),
  );
  return findings;
}

/** The CLI, its plugins, the backend, and everything that keeps a deployment from beginning. */
export async function pulumiFindings(
  pulumi: PulumiStack,
  settings: Pick<PlainSettings, "name" | "host">,
  project: string,
): Promise<Finding[]> {
  const programs = await programFindings(pulumi, project);
  const [backend, locks, hostLock] = await Promise.all([
    pulumi.backendUrl(),
    pulumi.locks(),
    hostLockFinding(settings),
  ]);
  const findings = [...programs, hostLock];
  if (backend === undefined)
    return [
      ...findings,
      fail(
        "backend",
        "Pulumi can't reach the backend that it is logged in to",
        "a backend",
        "pulumi login, or PULUMI_BACKEND_URL",
      ),
    ];
  let exported: string | undefined;
  try {
    exported = await pulumi.exported();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [...findings, fail("backend", error.message, "a state that can be read", "pulumi stack export")];
  }
  findings.push(
    exported === undefined
      ? warn(
          "backend",
          `${backend} has no stack ${pulumi.name}`,
          "the stack",
          `the first deployment makes it, unless it is in another backend: pulumi login`,
        )
      : ok("backend", `${backend} has ${pulumi.name}, ${readInterruptedState(exported).ids.size} resources`),
    ...backendLockFindings(locks, pulumi.name),
    ...(await stateFindings(exported, pulumi.name, settings)),
  );
  return findings;
}
