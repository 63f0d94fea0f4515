import type { Command } from "commander";
import { nearest } from "../config/nearest.ts";
import { Failure } from "./failure.ts";

/**
 * npm's variable for an option that npm has taken itself: `--dry-run` becomes `npm_config_dry_run`, `--no-switch` an
 * empty `npm_config_switch`.
 */
const npmName = (option: string): string => `npm_config_${option.replace(/^no-/, "").replaceAll("-", "_")}`;

/**
 * Options that many machines set for npm itself (CI above all). Their loss is harmless: a question is asked, or a lock
 * is respected.
 */
const harmless = ["yes", "force"];

/** npm's own options, each one or two letters away from one of ours. */
const npmOwn = ["call", "scopes", "versions"];

/**
 * Options that npm has taken and that are, or resemble, one of ours: `npm run NAME COMMAND --stack x` passes none of
 * them on without a `--` before, and npm silently takes unknown ones as well: `--dryrun`, `-sstaging`.
 */
function takenByNpm(options: readonly string[], stacks: readonly string[], environment: NodeJS.ProcessEnv): string[] {
  const names = [...new Set(options)].map((option) => option.replace(/^no-/, ""));
  return Object.entries(environment).flatMap(([variable, value]) => {
    const taken = /^npm_config_(.+)$/.exec(variable)?.[1];
    if (taken === undefined || value === undefined) return [];
    const name = taken.replaceAll("_", "-");
    if (harmless.includes(name) || npmOwn.includes(name)) return [];
    const option = options.find((one) => npmName(one) === variable);
    if (option !== undefined) return [`--${option}`];
    if (names.includes("stack") && stacks.some((stack) => `s${stack}` === taken)) return [`-${taken}`];
    const meant = nearest(name, names);
    return meant === undefined || harmless.includes(meant) ? [] : [`--${name}`];
  });
}

/**
 * Refuses to continue without options that npm has taken: a dry run would be a real one, on another stack.
 * @param script the script of package.json that npm runs.
 * @param options long names of the command's options, without dashes.
 * @param stacks names of the stacks that have a file.
 * @param typed arguments that npm has passed on, beside the command's name.
 * @throws {Failure} that names each option and the right spelling.
 */
export function refuseTakenOptions(
  script: string,
  options: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
  { stacks = [], typed = [] }: { stacks?: readonly string[]; typed?: readonly string[] } = {},
): void {
  // Only `npm run` sets this.
  if (environment["npm_lifecycle_event"] !== script) return;
  const shown = takenByNpm(options, stacks, environment);
  // npm's own -s is --silent: of `-s staging` it passes on only the name.
  const [stack] = environment["npm_config_loglevel"] === "silent" ? typed.filter((one) => stacks.includes(one)) : [];
  if (stack !== undefined) shown.push(`-s ${stack}`);
  if (shown.length === 0) return;
  throw new Failure(
    "config",
    `npm took ${shown.join(" and ")} for itself: without -- before them, npm run hands no options on. Nothing was done`,
    `npm run ${script} -- … ${shown.join(" ")} (or, where they were not typed, take them out of npm's settings: npm config ls -l)`,
  );
}

/** The long names of all options that a command has, its parents' included. */
export function longOptions(command: Command): string[] {
  const names: string[] = [];
  for (let at: Command | null = command; at !== null; at = at.parent)
    names.push(...at.options.map((option) => option.long?.replace(/^--/, "") ?? ""));
  return names.filter((name) => name !== "");
}
