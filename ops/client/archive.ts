/** Files as a tar stream: of a git commit, or of a directory as it is. */
import { execa } from "execa";
import { lstatSync } from "node:fs";
import { lstat, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { create } from "tar";
import { messageOf, StepError } from "../contract/errors.ts";
import { lastLines } from "../host/docker.ts";
import { withoutSecrets } from "../host/environment.ts";
import { gitEnvironment, neutralGit } from "./git.ts";

/** A tar in creation. */
export interface Archive {
  stream: Readable;
  /** Rejects when the tar is incomplete, for a reason on this side. */
  done: Promise<void>;
}

const git = (repository: string, args: readonly string[]): Promise<{ ok: boolean; stdout: string; stderr: string }> =>
  execa("git", [...neutralGit, "-C", repository, ...args], {
    env: gitEnvironment(withoutSecrets(process.env)),
    extendEnv: false,
    reject: false,
    stdin: "ignore",
  }).then(({ failed, stdout, stderr }) => ({ ok: !failed, stdout, stderr }));

export interface Commit {
  /** All 40 digits. */
  id: string;
  /** The commit's own date in UTC: the same at every build. */
  date: string;
}

/** Looks a commit up. */
export async function findCommit(repository: string, commit: string): Promise<Commit> {
  const { ok, stdout, stderr } = await git(repository, ["show", "--no-patch", "--format=%H %cI", `${commit}^{commit}`]);
  const [id, date] = stdout.trim().split(" ");
  if (ok && id !== undefined && date !== undefined)
    return { id, date: new Date(date).toISOString().replace(".000Z", "Z") };
  if (/not a git repository|cannot change to/i.test(stderr)) {
    throw new StepError(`${repository} is not a git repository, but the release names the commit ${commit}`, {
      hint: "set togather:source.repository to a clone of the server's repository",
    });
  }
  if (/dubious ownership/.test(stderr))
    throw new StepError(`git doesn't trust ${repository}, because it belongs to another user`, {
      hint: lastLines(stderr, 1).trim(),
    });
  const shallow = (await git(repository, ["rev-parse", "--is-shallow-repository"])).stdout.trim() === "true";
  throw new StepError(`commit ${commit} is not in ${repository}${shallow ? ", which is a shallow clone" : ""}`, {
    hint: shallow ? `git -C ${repository} fetch --unshallow --tags` : `git -C ${repository} fetch --all --tags`,
  });
}

/** The files of a commit: never those of the working tree. */
export function commitArchive(repository: string, commit: string, paths: readonly string[]): Archive {
  const child = execa("git", [...neutralGit, "-C", repository, "archive", "--format=tar", commit, "--", ...paths], {
    env: gitEnvironment(withoutSecrets(process.env)),
    extendEnv: false,
    reject: false,
    buffer: { stdout: false },
    stdin: "ignore",
  });
  return {
    stream: child.stdout,
    done: child.then(({ failed, stderr, signal }) => {
      // A reader that has gone away reports its own reason.
      if (!failed || signal === "SIGPIPE") return;
      throw new StepError(`commit ${commit} has not all of ${paths.join(", ")}: ${lastLines(stderr, 2)}`, {
        hint: "togather:source.paths and togather:source.migrations name files of the commit",
      });
    }),
  };
}

/** Whether a path never goes into an image. */
function isExcluded(path: string): boolean {
  return path
    .split("/")
    .some(
      (part) =>
        part === "node_modules" ||
        part === ".git" ||
        part === ".togather" ||
        (/^\.env/.test(part) && !part.endsWith(".example")),
    );
}

/** Checks that paths exist: missing ones would be left out silently. */
function checkPaths(directory: string, paths: readonly string[]): void {
  for (const path of paths) {
    if (lstatSync(join(directory, path), { throwIfNoEntry: false }) === undefined) {
      throw new StepError(`${join(directory, path)} doesn't exist`, {
        hint: "togather:source.paths and togather:source.migrations name files of togather:source.repository",
      });
    }
  }
}

/** A directory's files as they are, without files that are no source. Owners and times of this machine are left out. */
export function treeArchive(directory: string, paths: readonly string[]): Archive {
  checkPaths(directory, paths);
  const pack = create({ cwd: directory, portable: true, filter: (path) => !isExcluded(path) }, [...paths]);
  const stream = Readable.from(pack);
  return {
    stream,
    done: finished(stream, { writable: false }).catch((error: unknown) => {
      if (
        error instanceof Error &&
        "code" in error &&
        (error.code === "EPIPE" || error.code === "ERR_STREAM_PREMATURE_CLOSE")
      )
        return;
      throw new StepError(`the files in ${directory} could not be read: ${messageOf(error)}`, { cause: error });
    }),
  };
}

/** The time of the last change in a source tree. */
export async function newestChange(directory: string, paths: readonly string[]): Promise<Date> {
  checkPaths(directory, paths);
  let newest = 0;
  for (const path of paths) {
    const root = join(directory, path);
    const below = (await stat(root)).isDirectory() ? await readdir(root, { recursive: true }) : [];
    for (const file of ["", ...below.filter((file) => !isExcluded(file))])
      newest = Math.max(newest, (await lstat(join(root, file))).mtimeMs);
  }
  return new Date(newest);
}

/** A complete archive in memory: only for small ones. */
export async function collect(archive: Archive): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of archive.stream) chunks.push(Buffer.from(chunk as Buffer));
  await archive.done;
  return Buffer.concat(chunks);
}
