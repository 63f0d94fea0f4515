import type { Command } from "commander";
import { nearest } from "../config/nearest.ts";
import { Failure } from "./failure.ts";

/** npm's name of an option that it has taken for itself: `--dry-run` arrives as `npm_config_dry_run`, `--no-switch` as an empty `npm_config_switch`. */
const npmName = (option: string): string => `npm_config_${option.replace(/^no-/, "").replaceAll("-", "_")}`;

/** Options that many machines set for npm itself (CI above all). Without them nothing more is done: a question is asked, or a lock is respected. */
const harmless = ["yes", "force"];

/** npm's own, each one letter or two from one of ours. */
const npmOwn = ["call", "scopes", "versions"];

/**
 * What npm has taken that is one of these options, or was meant as one: `npm run NAME COMMAND --stack x` hands none of them on without a `--`
 * before, and what npm doesn't know it takes without a word as well: `--dryrun`, `-sstaging`.
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
 * Refuses to go on without what was meant: a dry run would be a real one, on another stack.
 * @param script of package.json, as npm was told to run it.
 * @param options long names that the command has, without dashes.
 * @param stacks names of the stacks that have a file.
 * @param typed what npm has handed over, beside the command's name.
 * @throws {Failure} that names each option and how to write it.
 */
export function refuseTakenOptions(
  script: string,
  options: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
  { stacks = [], typed = [] }: { stacks?: readonly string[]; typed?: readonly string[] } = {},
): void {
  // Set by `npm run`, and by nobody else.
  if (environment["npm_lifecycle_event"] !== script) return;
  const shown = takenByNpm(options, stacks, environment);
  // npm's own -s is --silent: of `-s staging` it hands over the name alone.
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
