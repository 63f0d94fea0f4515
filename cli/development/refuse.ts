import { environmentRules } from "../../config/schema/environments.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";

/** Whether a stack runs the working tree in one container, without slots. */
export function isDevelopment({ environment }: Pick<PlainSettings, "environment">): boolean {
  return !environmentRules[environment].blueGreen;
}

const refusals = {
  release: {
    cant: "take a release",
    why: "its one server runs the working tree, and is built again at every change",
    instead: "a stack of the environment staging or production takes releases",
  },
  rollback: {
    cant: "be rolled back",
    why: "there is no other release to go back to; what the working tree holds is what runs",
    instead: "git restore or git switch changes what runs",
  },
  "snapshots create": {
    cant: "take a snapshot",
    why: "its database is the working tree's, and has none",
    instead: "a stack of the environment staging or production has snapshots",
  },
  maintenance: {
    cant: "have a maintenance page",
    why: "its one server has no router before it",
    instead: "a stack of the environment staging or production has one",
  },
  "preview-url": {
    cant: "show an idle slot",
    why: "its one server runs the working tree",
    instead: "a stack of the environment staging or production has an idle slot",
  },
} as const;

/**
 * Refuses a command that moves traffic between slots.
 * @throws {Failure} in an environment without slots.
 */
export function refuseWithoutSlots(
  command: keyof typeof refusals,
  file: Pick<StackFile, "stack" | "name">,
  settings: Pick<PlainSettings, "environment">,
): void {
  if (!isDevelopment(settings)) return;
  const { cant, why, instead } = refusals[command];
  throw new Failure(
    "config",
    `${file.stack} can't ${cant}: togather:environment in ${file.name} is ${settings.environment}, which has no slots: ${why}`,
    `${invocation(`up --stack ${file.stack}`)} applies new migrations and settings; ${instead}`,
  );
}
