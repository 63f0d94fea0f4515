import type { Before, Serving } from "../../config/plan.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import type { HostNow } from "../../ops/host/serving-slot.ts";
import type { DeployContext, DeployOptions } from "../context.ts";
import type { Finding } from "../doctor/finding.ts";
import type { Ending } from "../exit-codes.ts";
import type { Output } from "../output.ts";
import type { HeldLock } from "../snapshots/host-lock.ts";
import type { StackFile } from "../stack-file.ts";
import type { Interruption } from "./phases.ts";
import type { PulumiStack, RunEnd } from "./pulumi-stack.ts";

/** A deployment's target and options. */
export interface Deployment {
  /** The target state: with the new release, or the slot flipped. */
  file: StackFile;
  pulumi: PulumiStack;
  before: Before;
  /** The Docker host's report of a moment ago, for the plan and for the start of Pulumi. Missing: it is asked again. */
  now?: HostNow | undefined;
  output: Output;
  dryRun: boolean;
  /** For this run only: it is not written to the file. */
  skipMigrations: boolean;
  force: boolean;
  /** The commit of a release that was sent back and is requested again, for this run. */
  again?: string | undefined;
  /** Asks what serves, as a sentence, while this stack's router has no slot: for a node that is being adopted. */
  meanwhile?: (() => Promise<string>) | undefined;
  /** The lock and the abort signal of the command that runs the deployment: the deployment uses them, too. */
  within?: { lock: HeldLock | undefined; signal: AbortSignal } | undefined;
}

/** The deployment that a command asks for, with what it has looked at and its options. */
export const requested = (
  context: DeployContext,
  { dryRun = false, skipMigrations = false, force = false }: DeployOptions,
  within: Deployment["within"],
): Deployment => ({ ...context, now: context.looked, within, dryRun, skipMigrations, force });

/** A deployment's result as JSON. */
export interface DeploymentResult {
  ok: boolean;
  ending: Ending;
  exitCode: number;
  dryRun: boolean;
  plan: string[];
  /** Dry run only: files of the migrations that would run (null: unknown), and the findings of the checks. */
  migrations?: string[] | null;
  checks?: Finding[];
  deploymentId?: string | undefined;
  serving?: Serving | { slot: SlotName } | undefined;
  url?: string | undefined;
  phases: { phase: string; subject: string; status: string; durationMs: number; detail: string }[];
  changes: RunEnd["changes"];
  /** Replaced parts (in a dry run: parts to be replaced) that both slots need: requests fail meanwhile. */
  interruptions: readonly Interruption[];
  errors: string[];
  warnings: string[];
}
