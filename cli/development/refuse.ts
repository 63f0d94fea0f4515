import { environmentRules } from "../../config/environments.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";

/** Whether a stack runs the working tree in one container, without slots. */
export function isDevelopment({ environment }: Pick<PlainSettings, "environment">): boolean {
  return !environmentRules[environment].blueGreen;
}

/**
 * Stops a command that moves traffic between slots.
 * @throws {Failure} in an environment that has none.
 */
export function refuseWithoutSlots(command: "release" | "rollback", file: Pick<StackFile, "stack" | "name">, settings: Pick<PlainSettings, "environment">): void {
  if (!isDevelopment(settings)) return;
  const why = command === "release" ? "its one server runs the working tree, and is built again at every change" : "there is no other release to go back to; what the working tree holds is what runs";
  throw new Failure(
    "config",
    `${file.stack} can't ${command === "release" ? "take a release" : "be rolled back"}: togather:environment in ${file.name} is ${settings.environment}, which has no slots: ${why}`,
    `${invocation(`up --stack ${file.stack}`)} applies new migrations and settings; ${command === "release" ? "a stack of the environment staging or production takes releases" : "git restore or git switch changes what runs"}`,
  );
}
