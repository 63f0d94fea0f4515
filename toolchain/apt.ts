import type { Machine } from "./machine.ts";
import { Problem } from "./problem.ts";
import { run, tail } from "./run.ts";
import type { Report } from "./step.ts";

const LIMITS = [
  "-o",
  "Acquire::Retries=2",
  "-o",
  "Acquire::http::Timeout=20",
  "-o",
  "Acquire::https::Timeout=20",
  "-o",
  "DPkg::Lock::Timeout=60",
];

/** Installs Debian packages, as root. */
export async function installPackages(packages: readonly string[], machine: Machine, report: Report): Promise<void> {
  const env = { ...machine.env, DEBIAN_FRONTEND: "noninteractive" };
  const aptGet = (...args: string[]) =>
    run("apt-get", [...LIMITS, ...args], { env, onLine: report.detail, silenceLimit: 120_000 });
  report(`Installing ${packages.join(", ")} with apt-get`);
  // A repository of the machine that has nothing to do with these packages may be broken: only the install counts.
  await aptGet("update");
  const { ok, output } = await aptGet("install", "-y", "--no-install-recommends", ...packages);
  if (!ok) throw new Problem(`apt-get could not install ${packages.join(", ")}:\n${tail(output)}`);
}
