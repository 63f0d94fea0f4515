import { Option, type Command } from "commander";
import { project } from "../toolchain/setup.ts";
import { servingSlot } from "../ops/host/serving-slot.ts";
import { madeStack, PulumiStack, selectedStack } from "./deploy/pulumi-stack.ts";
import type { Before } from "../config/plan.ts";
import { isDevelopment } from "./development/refuse.ts";
import { Output } from "./output.ts";
import { StackFile, type PlainSettings } from "./stack-file.ts";

/** Options of every command. They may stand before its name, too. */
export interface CommonOptions {
  stack?: string;
  json?: boolean;
}

/** Options of the commands that deploy. */
export interface DeployOptions extends CommonOptions {
  dryRun?: boolean;
  skipMigrations?: boolean;
  force?: boolean;
}

export function withCommonOptions(command: Command): Command {
  return command
    .addOption(new Option("-s, --stack <name>", "stack, such as production (default: the selected one)"))
    .addOption(new Option("--json", "print one JSON document on stdout, for machines"));
}

export function withDeployOptions(command: Command): Command {
  return withCommonOptions(command)
    .option("--dry-run", "show what would be done; change nothing")
    .option("--skip-migrations", "this once, no snapshot and no migrations: for a hotfix without schema changes")
    .option("--force", "this once, ignore a lock and allow a change to the slot that serves, which interrupts traffic");
}

/** The context of commands that only look. */
export interface ReadContext {
  file: StackFile;
  settings: PlainSettings;
  output: Output;
}

/** The context of commands that deploy. */
export interface DeployContext extends ReadContext {
  pulumi: PulumiStack;
  before: Before;
  /** Whether the backend has the stack; a dry run makes none. */
  exists: boolean;
}

export async function readContext(options: CommonOptions): Promise<ReadContext> {
  const output = new Output(options.json === true);
  const file = StackFile.open(project, options.stack ?? (await selectedStack()));
  return { file, settings: file.settings(), output };
}

/**
 * What a deployment starts from: what the last one has left, and what serves by the router's own answer, which may be another
 * slot since. A host that does not answer is the run's own error.
 */
export async function beforeNow(pulumi: PulumiStack, settings: PlainSettings): ReturnType<PulumiStack["before"]> {
  const [before, now] = await Promise.all([
    pulumi.before(),
    isDevelopment(settings) ? undefined : servingSlot(settings.name, settings.host).catch(() => undefined),
  ]);
  if (now === undefined || before.outputs === undefined) return before;
  const { slot, release } = now;
  return { ...before, serving: { slot, release }, slots: { ...before.slots, [slot]: release } };
}

/** Reads what the last deployment has left. Makes nothing: see `ready`. */
export async function deployContext(options: DeployOptions): Promise<DeployContext> {
  const read = await readContext(options);
  const pulumi = await PulumiStack.open(read.file.stack);
  const before = await beforeNow(pulumi, read.settings);
  return { ...read, pulumi, before, exists: before.outputs !== undefined };
}

/** Makes the stack before its first deployment, once all that was asked for has turned out to make sense. A preview needs one, too: an empty one. */
export async function ready(context: DeployContext, options: DeployOptions): Promise<DeployContext> {
  const { exists, file, pulumi, output } = context;
  if (exists) return context;
  await pulumi.create(file);
  output.say(madeStack(file.stack, options.dryRun === true));
  // Pulumi has written to its file.
  const fresh = StackFile.open(project, file.stack);
  return { ...context, exists: true, file: fresh, settings: fresh.settings() };
}
