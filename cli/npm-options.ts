import type { Command } from "commander";
import { Failure } from "./failure.ts";

/** npm's name of an option that it has taken for itself: `--dry-run` arrives as `npm_config_dry_run`, `--no-switch` as an empty `npm_config_switch`. */
const npmName = (option: string): string => `npm_config_${option.replace(/^no-/, "").replaceAll("-", "_")}`;

/** Options that many machines set for npm itself (CI above all). Without them nothing more is done: a question is asked, or a lock is respected. */
const harmless = ["yes", "force"];

/** Those of these options that npm has taken: `npm run NAME COMMAND --stack x` hands none of them on without a `--` before. */
function takenByNpm(options: readonly string[], environment: NodeJS.ProcessEnv): string[] {
  return [...new Set(options)].filter(
    (option) => !harmless.includes(option) && environment[npmName(option)] !== undefined,
  );
}

/**
 * Refuses to go on without what was meant: a dry run would be a real one, on another stack.
 * @param script of package.json, as npm was told to run it.
 * @param options long names that the command has, without dashes.
 * @throws {Failure} that names each option and how to write it.
 */
export function refuseTakenOptions(
  script: string,
  options: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): void {
  // Set by `npm run`, and by nobody else.
  if (environment["npm_lifecycle_event"] !== script) return;
  const taken = takenByNpm(options, environment);
  if (taken.length === 0) return;
  const shown = taken.map((option) => `--${option}`);
  throw new Failure(
    "config",
    `npm took ${shown.join(" and ")} for itself: without -- before them, npm run hands no options on. Nothing was done`,
    `npm run ${script} -- … ${shown.join(" ")} (or take ${taken.map(npmName).join(" and ")} out of npm's settings)`,
  );
}

/** The long names of all options that a command has, its parents' included. */
export function longOptions(command: Command): string[] {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent)
    names.push(...at.options.map((option) => option.long?.replace(/^--/, "") ?? ""));
  return names.filter((name) => name !== "");
}
