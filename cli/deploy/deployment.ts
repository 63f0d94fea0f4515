import type { Before, Serving } from "../../config/plan.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import type { HostNow } from "../../ops/host/serving-slot.ts";
import type { Finding } from "../doctor/finding.ts";
import type { Ending } from "../exit-codes.ts";
import type { Output } from "../output.ts";
import type { HeldLock } from "../snapshots/host-lock.ts";
import type { StackFile } from "../stack-file.ts";
import type { Interruption } from "./phases.ts";
import type { PulumiStack, RunEnd } from "./pulumi-stack.ts";

/** What is to be deployed, and how. */
export interface Deployment {
  /** As it is to be: with the release in it, the slot flipped. */
  file: StackFile;
  pulumi: PulumiStack;
  before: Before;
  /** What the Docker host told a moment ago, for the plan and for how Pulumi is started; left out, it is asked again. */
  now?: HostNow | undefined;
  output: Output;
  dryRun: boolean;
  /** For this run only: nothing of it is written to the file. */
  skipMigrations: boolean;
  force: boolean;
  /** The commit of a release that was sent back and is asked for again, for this run. */
  again?: string | undefined;
  /** What serves as long as this stack's router has no slot, asked and in a sentence: a node that is being adopted. */
  meanwhile?: (() => Promise<string>) | undefined;
  /** The lock of the command that runs it, and the signal that ends that command: both are this deployment's, too. */
  within?: { lock: HeldLock | undefined; signal: AbortSignal } | undefined;
}

/** What a deployment says to a machine. */
export interface DeploymentResult {
  ok: boolean;
  ending: Ending;
  exitCode: number;
  dryRun: boolean;
  plan: string[];
  /** Of a dry run: files of the migrations that would run, null where nobody can tell; and what the checks found. */
  migrations?: string[] | null;
  checks?: Finding[];
  deploymentId?: string | undefined;
  serving?: Serving | { slot: SlotName } | undefined;
  url?: string | undefined;
  phases: { phase: string; subject: string; status: string; durationMs: number; detail: string }[];
  changes: RunEnd["changes"];
  /** What is replaced (in a dry run: would be) that both slots need: requests fail meanwhile. */
  interruptions: readonly Interruption[];
  errors: string[];
  warnings: string[];
}
