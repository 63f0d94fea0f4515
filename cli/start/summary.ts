import { relative } from "node:path";
import { styleText } from "node:util";
import { otherSlot } from "../../ops/contract/release.ts";
import type { StackOutputs } from "../deploy/pulumi-stack.ts";
import { invocation } from "../output.ts";
import { STACK } from "./local-stack.ts";

/** An address that was asked after the deployment. */
export interface Checked {
  url: string;
  /** Its answer. */
  answer: string;
  healthy: boolean;
}

/** The summary for a new user after `npm start`. */
export function summary(outputs: StackOutputs, checked: readonly Checked[], project: string): string {
  const rows = (pairs: readonly (readonly [string, string])[]) =>
    pairs.map(([label, value]) => `  ${label.padEnd(12)}${value}`).join("\n");
  const inProject = (path: string) => (relative(project, path).startsWith("..") ? path : relative(project, path));
  const togather = (command: string) => invocation(`${command} --stack ${STACK}`);
  const { serving } = outputs;
  const previous = serving && outputs.slots?.[otherSlot(serving.slot)];
  const title = checked.every(({ healthy }) => healthy)
    ? styleText(["bold", "green"], "Togather is up.")
    : styleText(["bold", "red"], "Togather is deployed, but doesn't answer as it should.");
  return [
    title,
    rows([
      ...checked.map(
        ({ url, answer }) => [new URL(url).protocol.slice(0, -1).toUpperCase(), `${url}/health  ${answer}`] as const,
      ),
      ["Log", inProject(outputs.logFile ?? "")],
    ]),
    styleText("bold", "What next"),
    rows([
      ["Release", "commit a change of server/ or migrations/, then: npm start"],
      ...(previous ? [["Roll back", `${togather("rollback")}   # to ${previous.version}`] as const] : []),
      ["Look", togather("status")],
      ["Logs", togather("logs")],
      ["Destroy", `npm run pulumi -- destroy --stack ${STACK}`],
    ]),
  ].join("\n\n");
}
