import { Option, type Command } from "commander";
import { project } from "../toolchain/setup.ts";
import { lookAtHost, type HostNow } from "../ops/host/serving-slot.ts";
import { unlessUnreachable } from "../ops/host/unreachable.ts";
import { loadAutomation, madeStack, PulumiStack, selectedStack } from "./deploy/pulumi-stack.ts";
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
  /** What the Docker host told when the command began; undefined where it did not answer, and in development. */
  looked: HostNow | undefined;
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
 * slot since. A host that can't tell is the run's own error.
 * @throws {UnreachableHost} when nothing comes from it at all: the run would wait for it as long again.
 */
export async function beforeNow(pulumi: PulumiStack, settings: PlainSettings): ReturnType<PulumiStack["before"]> {
  const [before, now] = await Promise.all([pulumi.before(), askHost(settings)]);
  return corrected(before, now);
}

/** What the Docker host tells; undefined where it can't. @throws {UnreachableHost} when nothing comes from it. */
async function askHost(settings: PlainSettings): Promise<HostNow | undefined> {
  return isDevelopment(settings) ? undefined : lookAtHost(settings.name, settings.host).catch(unlessUnreachable);
}

/** What the last deployment has left, with what serves now in its place. */
function corrected<B extends Awaited<ReturnType<PulumiStack["before"]>>>(before: B, now: HostNow | undefined): B {
  if (now?.serving === undefined || before.outputs === undefined) return before;
  const { slot, release } = now.serving;
  return { ...before, serving: { slot, release }, slots: { ...before.slots, [slot]: release } };
}

/**
 * Reads what the last deployment has left. Makes nothing: see `ready`.
 * @param read what the command has read already.
 */
export async function stackContext(options: DeployOptions, read?: ReadContext): Promise<DeployContext> {
  return contextOf(read ?? (await readContext(options)), () => undefined);
}

/** The same for a command that is about to deploy: what that takes is loaded meanwhile. */
export async function deployContext(options: DeployOptions, read?: ReadContext): Promise<DeployContext> {
  return contextOf(read ?? (await readContext(options)), preload);
}

/** Loads what a deployment takes, while others work. */
export function preload(): void {
  // A failure is told where it is used.
  loadAutomation().catch(() => undefined);
}

/** @param meanwhile what this process does while others work. */
async function contextOf(read: ReadContext, meanwhile: () => void): Promise<DeployContext> {
  // All at once: each takes longer than it works.
  const host = askHost(read.settings);
  // Its failure is told below.
  host.catch(() => undefined);
  const pulumi = await PulumiStack.open(read.file.stack);
  const asked = pulumi.before();
  meanwhile();
  const [before, looked] = await Promise.all([asked, host]);
  return { ...read, pulumi, before: corrected(before, looked), looked, exists: before.outputs !== undefined };
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
