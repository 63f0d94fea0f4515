import { baseImage } from "./base-image.ts";
import { dockerEngine } from "./docker.ts";
import type { Machine } from "./machine.ts";
import { Problem } from "./problem.ts";
import { run, tail } from "./run.ts";
import { ensure, type Report } from "./step.ts";
import { versionVariables, type Versions } from "./versions.ts";

/** The build's arguments: versions, system, and the way through the user's network. */
function buildArguments(machine: Machine, versions: Versions): string[] {
  // The engine is Linux everywhere; Pulumi runs here.
  const system =
    machine.platform === "linux"
      ? {}
      : { GOOS: machine.platform, GOARCH: machine.arch === "x64" ? "amd64" : machine.arch };
  const given = Object.entries({ ...versionVariables(versions), ...system }).map(([name, value]) => `${name}=${value}`);
  // By name only: their values may have passwords in them.
  const network = ["GOPROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"].filter(
    (name) => machine.env[name],
  );
  return [...given, ...network].flatMap((argument) => ["--build-arg", argument]);
}

/** Builds toolchain/Dockerfile, or one of its stages: the stage `build` has Go and all that was compiled. */
export async function buildToolchainImage(
  tag: string,
  stage: string | undefined,
  machine: Machine,
  versions: Versions,
  report: Report,
): Promise<void> {
  const target = stage === undefined ? [] : ["--target", stage];
  const { ok, output } = await run(
    "docker",
    ["build", "--tag", tag, ...target, ...buildArguments(machine, versions), import.meta.dirname],
    {
      env: machine.env,
      onLine(line) {
        if (/^Step .*: RUN/.test(line)) report(`Building in a container: ${line.slice(0, 60)}`);
        else report.detail(line);
      },
    },
  );
  if (!ok) throw new Problem(`Pulumi could not be built in a container:\n${tail(output)}`);
}

/** Builds Pulumi into a directory where there is no Go. */
export async function buildInContainer(
  directory: string,
  machine: Machine,
  versions: Versions,
  report: Report,
): Promise<void> {
  report("There is no Go that is new enough: building in a container");
  await ensure(dockerEngine(machine), report);
  await ensure(baseImage(machine), report);
  const docker = (...args: string[]) => run("docker", args, { env: machine.env });
  const tag = "togather-toolchain";
  await buildToolchainImage(tag, undefined, machine, versions, report);
  // It is never started; the command is for older engines, which insist on one.
  const { stdout: container } = await docker("create", tag, "none");
  const copied = await docker("cp", `${container}:/pulumi/.`, directory);
  await docker("rm", container);
  if (!copied.ok)
    throw new Problem(`The built Pulumi could not be copied out of its container:\n${tail(copied.output)}`);
}
