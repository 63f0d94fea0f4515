import { Option, type Command } from "commander";
import { project } from "../toolchain/setup.ts";
import { lookAtHost, type HostNow } from "../ops/host/serving-slot.ts";
import { unlessUnreachable } from "../ops/host/unreachable.ts";
import { loadAutomation, madeStack, PulumiStack, selectedStack } from "./deploy/pulumi-stack.ts";
import type { Before } from "../config/plan.ts";
import { isDevelopment } from "./development/refuse.ts";
import { Output } from "./output.ts";
import { StackFile, type PlainSettings } from "./stack-file.ts";

/** Options of every command. They may also stand before the command's name. */
export interface CommonOptions {
  stack?: string;
  json?: boolean;
}

/** Options of the commands that deploy. */
export interface DeployOptions extends CommonOptions {
  dryRun?: boolean;
  skipMigrations?: boolean;
  force?: boolean;
  wait?: boolean;
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
    .option("--wait", "wait while another deployment holds the lock, instead of being refused")
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
  /** The Docker host's state when the command began. Undefined: it did not answer, or in development. */
  looked: HostNow | undefined;
  /** Whether the backend has the stack; a dry run creates none. */
  exists: boolean;
}

export async function readContext(options: CommonOptions): Promise<ReadContext> {
  const output = new Output(options.json === true);
  const file = StackFile.open(project, options.stack ?? (await selectedStack()));
  return { file, settings: file.settings(), output };
}

/**
 * The starting point of a deployment: the result of the last one, and the slot that serves by the router's own answer,
 * which may have changed since. A host that can't answer is reported by the run itself.
 * @throws {UnreachableHost} when the host is silent: the run would wait for it as long again.
 */
export async function beforeNow(pulumi: PulumiStack, settings: PlainSettings): ReturnType<PulumiStack["before"]> {
  const [before, now] = await Promise.all([pulumi.before(), askHost(settings)]);
  return corrected(before, now);
}

/**
 * The Docker host's state. Undefined: it can't be asked.
 * @throws {UnreachableHost} when the host is silent.
 */
async function askHost(settings: PlainSettings): Promise<HostNow | undefined> {
  return isDevelopment(settings) ? undefined : lookAtHost(settings.name, settings.host).catch(unlessUnreachable);
}

/** The result of the last deployment, corrected with the slot that serves now. */
function corrected<B extends Awaited<ReturnType<PulumiStack["before"]>>>(before: B, now: HostNow | undefined): B {
  if (now?.serving === undefined || before.outputs === undefined) return before;
  const { slot, release } = now.serving;
  return { ...before, serving: { slot, release }, slots: { ...before.slots, [slot]: release } };
}

/**
 * Reads the result of the last deployment. Creates nothing: see `ready`.
 * @param read data that the command has already read.
 */
export async function stackContext(options: DeployOptions, read?: ReadContext): Promise<DeployContext> {
  return contextOf(read ?? (await readContext(options)), () => undefined);
}

/** The same for a command that is about to deploy: modules for that are loaded meanwhile. */
export async function deployContext(options: DeployOptions, read?: ReadContext): Promise<DeployContext> {
  return contextOf(read ?? (await readContext(options)), preload);
}

/** Loads modules that a deployment needs, while other work is waited for. */
export function preload(): void {
  // A failure is reported where the module is used.
  loadAutomation().catch(() => undefined);
}

/** @param meanwhile work of this process while others are waited for. */
async function contextOf(read: ReadContext, meanwhile: () => void): Promise<DeployContext> {
  // All at the same time: each waits longer than it works.
  const host = askHost(read.settings);
  // Its failure is reported below.
  host.catch(() => undefined);
  const pulumi = await PulumiStack.open(read.file.stack);
  const asked = pulumi.before();
  meanwhile();
  const [before, looked] = await Promise.all([asked, host]);
  return { ...read, pulumi, before: corrected(before, looked), looked, exists: before.outputs !== undefined };
}

/**
 * Creates the stack before its first deployment, once all arguments have proved valid. A preview needs one, too: an
 * empty one.
 */
export async function ready(context: DeployContext, options: DeployOptions): Promise<DeployContext> {
  const { exists, file, pulumi, output } = context;
  if (exists) return context;
  await pulumi.create(file);
  output.say(madeStack(file.stack, options.dryRun === true));
  // Pulumi has written to its file.
  const fresh = StackFile.open(project, file.stack);
  return { ...context, exists: true, file: fresh, settings: fresh.settings() };
}
