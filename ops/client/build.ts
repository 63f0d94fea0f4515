/** `build`: an image from a git commit, a source tree, or one of this project's own directories. */
import { labels as label } from "../contract/names.ts";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import * as z from "zod";
import type { StepContext } from "../contract/context.ts";
import type { StepRequest, StepResult } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import { projectDirectory } from "../image.ts";
import { networkVariables } from "./network-variables.ts";
import { seconds } from "../contract/units.ts";
import { commitArchive, findCommit, newestChange, treeArchive, type Archive } from "./archive.ts";
import { keepNewestStages } from "./build-stages.ts";
import { dockerProblem, lastLines, startDocker, tryDocker } from "../host/docker.ts";
import { withoutSecrets } from "../host/environment.ts";
import { endOf } from "../contract/programs.ts";
import { onLines } from "../host/lines.ts";
import { cloneAttributes, missingContent } from "./missing-content.ts";

type Request = StepRequest<"build">;

/** The files of a build, and the source that the image's label names. */
interface BuildSource {
  archive: () => Archive;
  /** With the same label the image is the same: the build is skipped. */
  label: string;
  /** ISO time; the same for the same source. */
  created: string;
  remove?: () => Promise<void>;
}

function sourceLabel(request: Request, identity: string): string {
  const { release, dockerfile, source, arguments: given = {} } = request;
  const paths = source.kind === "bundled" ? "" : ` ${source.paths.join(" ")}`;
  return `${identity}${release === undefined ? "" : ` as ${release.version}`} ${dockerfile}${paths}${Object.keys(given).length === 0 ? "" : ` ${JSON.stringify(given)}`}`;
}

async function prepareSource(request: Request): Promise<BuildSource> {
  const { source } = request;
  switch (source.kind) {
    case "commit": {
      const repository = resolve(source.repository);
      const { id, date } = await findCommit(repository, source.commit);
      return {
        archive: () => commitArchive(repository, id, source.paths),
        label: sourceLabel(request, id),
        created: date,
      };
    }
    case "tree": {
      const repository = resolve(source.repository);
      const created = (await newestChange(repository, source.paths)).toISOString();
      return {
        archive: () => treeArchive(repository, source.paths),
        label: sourceLabel(request, source.digest),
        created,
      };
    }
    case "bundled": {
      const directory = join(projectDirectory, "images", source.image);
      const label = sourceLabel(request, source.digest);
      const created = new Date().toISOString();
      if (source.image !== "ops") return { archive: () => treeArchive(directory, ["."]), label, created };
      const context = await mkdtemp(join(tmpdir(), "togather-ops-image-"));
      const { bundleStepProgram } = await import("./bundle.ts");
      await cp(directory, context, { recursive: true });
      await writeFile(join(context, "main.js"), await bundleStepProgram());
      return {
        archive: () => treeArchive(context, ["."]),
        label,
        created,
        remove: () => rm(context, { recursive: true, force: true }),
      };
    }
  }
}

const inspectedSchema = z.array(
  z.looseObject({
    Id: z.string(),
    Config: z.looseObject({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
  }),
);

/** The engine's image with this tag. */
async function findImage(
  tag: string,
  signal: AbortSignal,
): Promise<{ imageId: string; label: string | undefined } | undefined> {
  const { ok, stdout, stderr } = await tryDocker(["image", "inspect", tag], { signal });
  if (!ok) {
    signal.throwIfAborted();
    if (/no such image/i.test(stderr)) return undefined;
    throw dockerProblem(stderr);
  }
  const image = inspectedSchema.parse(JSON.parse(stdout))[0];
  return image && { imageId: image.Id, label: image.Config?.Labels?.[label.source] };
}

function buildArguments(request: Request, source: BuildSource, env: NodeJS.ProcessEnv): string[] {
  const { release, tag, dockerfile } = request;
  const labels: Record<string, string> = {
    [label.source]: source.label,
    ...(release === undefined
      ? {}
      : {
          "org.opencontainers.image.version": release.version,
          "org.opencontainers.image.revision": release.commit,
          "org.opencontainers.image.created": source.created,
        }),
  };
  const values: Record<string, string> =
    release === undefined ? {} : { VERSION: release.version, COMMIT: release.commit, CREATED: source.created };
  for (const [name, value] of Object.entries(request.arguments ?? {})) {
    // A placeholder after a backslash is literal text.
    values[name] = value.replace(/(\\?)\{(version|commit|created)\}/g, (text, escaped: string, part: string) =>
      escaped === "" ? (values[part.toUpperCase()] ?? "") : text.slice(1),
    );
  }
  return [
    ...["build", "--force-rm", `--tag=${tag}`, `--file=${dockerfile}`],
    ...Object.entries(labels).map(([name, value]) => `--label=${name}=${value}`),
    ...Object.entries(values).map(([name, value]) => `--build-arg=${name}=${value}`),
    ...Object.keys(networkVariables(env)).map((name) => `--build-arg=${name}`),
    "-",
  ];
}

/** Whether a line shows a build's progress: the classic builder's steps, and BuildKit's. */
function isProgress(line: string): boolean {
  return /^Step \d+\/\d+ : /.test(line) || /^#\d+ \[[^\]]*\d+\/\d+\] /.test(line);
}

interface BuildRun {
  ok: boolean;
  output: string;
}

/**
 * The environment for the engine's own builder: a user's builder (driver docker-container, remote) keeps its images to
 * itself.
 */
export function buildEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(withoutSecrets(env)).filter(([name]) => name !== "BUILDX_BUILDER"));
}

async function runBuild(
  args: readonly string[],
  source: BuildSource,
  context: StepContext,
  env: NodeJS.ProcessEnv,
): Promise<BuildRun> {
  const { log, signal } = context;
  const archive = source.archive();
  const child = startDocker(args, {
    env: buildEnvironment(env),
    give: { BUILDKIT_PROGRESS: "plain", DOCKER_CLI_HINTS: "false" },
    stdin: "open",
    signal,
    // Docker's client tells the engine to stop; killed at once, it would leave the build running.
    graceMs: 10_000,
  });
  const ended = endOf(child);
  const lines: string[] = [];
  const use = (line: string): void => {
    lines.push(line);
    if (isProgress(line)) log.info(line.length > 140 ? `${line.slice(0, 140)}…` : line);
    else log.debug(line);
  };
  const said = [onLines(child.stdout, use), onLines(child.stderr, use)];
  // The engine may refuse before it has read everything: then its message matters, not the broken pipe.
  const sent = pipeline(archive.stream, child.stdin).catch(() => undefined);
  const [{ exitCode, error }] = await Promise.all([ended, archive.done.catch(() => undefined), sent, ...said]);
  signal.throwIfAborted();
  if (error !== undefined) throw dockerProblem(error.message, error);
  // A build of half an archive may well succeed: it must not count.
  await archive.done;
  return { ok: exitCode === 0, output: lines.join("\n") };
}

/**
 * Warns of files that a commit lacks: nobody would guess that from a failed build, or from a server without its
 * pictures.
 */
async function warnOfMissing({ source }: Request, log: StepContext["log"]): Promise<void> {
  if (source.kind !== "commit") return;
  const repository = resolve(source.repository);
  const [{ submodules, pointers }, attributes] = await Promise.all([
    missingContent(repository, source.commit, source.paths),
    cloneAttributes(repository),
  ]);
  if (attributes !== undefined)
    log.warn(
      `git archive goes by ${attributes}, which other clones don't have: the build may get other files than the commit has. Attributes for everybody are in .gitattributes`,
    );
  const named = (names: readonly string[]): string =>
    `${names.slice(0, 5).join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
  if (submodules.length > 0)
    log.warn(
      `the build has nothing of ${submodules.length === 1 ? "the submodule" : "the submodules"} ${named(submodules)}: their files are other repositories', and not in the commit`,
    );
  if (pointers.length > 0)
    log.warn(
      `Git LFS keeps ${named(pointers)} elsewhere: the build has ${pointers.length === 1 ? "its pointer" : "their pointers"} only`,
    );
}

/** Builds the image unless the engine has it already. */
export async function build(request: Request, context: StepContext): Promise<StepResult<"build">> {
  const started = performance.now();
  const { log, signal, env } = context;
  const { tag } = request;
  const source = await prepareSource(request);
  try {
    const there = await findImage(tag, signal);
    if (there?.label === source.label) {
      // It counts as new again: a prune of another deployment on this host must not remove it before a container uses
      // it.
      await tryDocker(["tag", there.imageId, tag], { signal });
      log.info(`${tag} is there already`);
      return { tag, imageId: there.imageId, built: false, durationMs: Math.round(performance.now() - started) };
    }
    log.info(`building ${tag} from ${source.label}`);
    await warnOfMissing(request, log);
    const args = buildArguments(request, source, env);
    let run = await runBuild(args, source, context, env);
    if (!run.ok && /buildx component is missing|buildx.*(missing|broken|not found)/i.test(run.output)) {
      log.info("this Docker client has no buildx: building with the classic builder");
      run = await runBuild(args, source, context, { ...env, DOCKER_BUILDKIT: "0" });
    }
    if (!run.ok) throw buildProblem(tag, run.output);
    const image = await findImage(tag, signal);
    if (image === undefined) throw new StepError(`docker build succeeded, but the engine has no image ${tag}`);
    // A build of another deployment on this host, with other settings, may have taken the tag in that moment.
    if (image.label !== source.label)
      throw new StepError(`another deployment on this Docker host has built ${tag} with other arguments meanwhile`, {
        hint: "run the same command again",
      });
    await keepNewestStages(tag, request.dockerfile, run.output, log, signal);
    const durationMs = Math.round(performance.now() - started);
    log.info(`built ${tag} in ${seconds(durationMs)}`);
    return { tag, imageId: image.imageId, built: true, durationMs };
  } finally {
    await source.remove?.();
  }
}

function buildProblem(tag: string, output: string): StepError {
  const tail = lastLines(output, 40);
  if (/no space left on device/i.test(output))
    return new StepError(`building ${tag} failed, the Docker host's disk is full:\n${tail}`, {
      hint: "docker system df; docker image prune",
    });
  if (/cannot connect to the docker daemon|error during connect/i.test(output)) return dockerProblem(output);
  return new StepError(`building ${tag} failed. The end of its output:\n${tail}`);
}
