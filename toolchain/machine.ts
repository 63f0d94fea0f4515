import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import envPaths from "env-paths";

/** The machine that the set-up runs on; tests make up their own. */
export interface Machine {
  platform: NodeJS.Platform;
  arch: string;
  isRoot: boolean;
  /** Debian or derived from it, so that apt-get is the way to install. */
  isDebian: boolean;
  /** The environment of every program that is started. */
  env: NodeJS.ProcessEnv;
  /** Shared by all clones of this user; safe to delete. */
  cacheDirectory: string;
}

function looksLikeDebian(): boolean {
  try {
    return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false;
  }
}

export function thisMachine(): Machine {
  return {
    platform: process.platform,
    arch: process.arch,
    isRoot: process.getuid?.() === 0,
    isDebian: looksLikeDebian(),
    // The directories of dockerd and chroot; a root shell without login may lack them.
    env:
      process.platform === "linux"
        ? { ...process.env, PATH: [process.env.PATH, "/usr/sbin", "/sbin"].join(delimiter) }
        : process.env,
    cacheDirectory: envPaths("togather", { suffix: "" }).cache,
  };
}

/** The program's full path, as a shell would find it. */
export function findProgram(name: string, env: NodeJS.ProcessEnv): string | undefined {
  return (env.PATH ?? "")
    .split(delimiter)
    .filter((directory) => directory !== "")
    .map((directory) => join(directory, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
