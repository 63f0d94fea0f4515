/**
 * PostgreSQL's client programs in the ops image: those of the bundled database, and those for newer servers, which an
 * older pg_dump can't dump.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { StepError } from "../../contract/errors.ts";

/** Debian's directory of client programs, with a folder for each major version. */
const directory = "/usr/lib/postgresql";
/** The major version on PATH. */
const ownMajor = 17;

/** The newest major version of the installed clients. */
export function newestClient(root = directory): number {
  const names = existsSync(root) ? readdirSync(root) : [];
  const majors = names.filter((name) => existsSync(join(root, name, "bin", "pg_dump"))).map(Number);
  return Math.max(ownMajor, ...majors);
}

/** Hint for a server whose version has no client program here. */
export function noClientHint(major: number): string {
  return major === 18
    ? "the ops image was built where its client could not be had; on the Docker host, where Debian's or PostgreSQL's packages can be reached: docker image rm --force $(docker images --quiet togather-ops), then the same again"
    : `a server up to version ${newestClient()}, or a newer client in images/ops/Dockerfile`;
}

/** A dump's major version, from the output of `pg_dump --version`. */
export const madeByMajor = ({ tool_version: said }: { tool_version: string }): number =>
  Number(/(\d+)/.exec(said)?.[1] ?? 0);

/**
 * The same context, with the client programs for a server.
 * @param majors major versions of the server, and of the dump that is loaded into it.
 * @throws {StepError} where there are none.
 */
export function withClientFor<T extends { env: NodeJS.ProcessEnv }>(context: T, ...majors: readonly number[]): T {
  const major = Math.max(...majors);
  if (major <= ownMajor) return context;
  if (!existsSync(join(directory, String(major), "bin", "pg_dump")))
    throw new StepError(
      `it takes PostgreSQL's client programs of version ${major}, and this project's ops image has none newer than ${newestClient()}. Nothing was changed`,
      { hint: noClientHint(major) },
    );
  return {
    ...context,
    env: { ...context.env, PATH: `${join(directory, String(major), "bin")}:${context.env["PATH"] ?? ""}` },
  };
}
