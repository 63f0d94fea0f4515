import { relative } from "node:path";
import { styleText } from "node:util";
import type { StackOutputs } from "./local-pulumi.ts";
import { STACK } from "./local-stack.ts";

export interface Checked {
  url: string;
  /** How it answered. */
  answer: string;
  healthy: boolean;
}

/** What a new user wants to know after `npm start`. */
export function summary(outputs: StackOutputs, checked: readonly Checked[], project: string): string {
  const rows = (pairs: readonly (readonly [string, string])[]) =>
    pairs.map(([label, value]) => `  ${label.padEnd(12)}${value}`).join("\n");
  const inProject = (path: string) => (relative(project, path).startsWith("..") ? path : relative(project, path));
  const pulumi = (args: string) => `npm run pulumi -- ${args} --stack ${STACK}`;
  const other = outputs.activeSlot === "blue" ? "green" : "blue";
  const previous = outputs.slots?.[other];
  const title = checked.every(({ healthy }) => healthy)
    ? styleText(["bold", "green"], "Togather is up.")
    : styleText(["bold", "red"], "Togather is deployed, but doesn't answer as it should.");
  return [
    title,
    rows([
      ...checked.map(
        ({ url, answer }) => [new URL(url).protocol.slice(0, -1).toUpperCase(), `${url}/health  ${answer}`] as const,
      ),
      ["Slot", `${outputs.activeSlot ?? ""} serves ${outputs.version ?? ""} (${outputs.commit?.slice(0, 12) ?? ""})`],
      ["Deployment", outputs.deploymentId ?? ""],
      ["Log", inProject(outputs.logFile ?? "")],
    ]),
    styleText("bold", "What next"),
    rows([
      ["Release", "commit a change of server/ or migrations/, then: npm start"],
      ...(previous
        ? ([
            ["Roll back", `${pulumi(`config set activeSlot ${other}`)}   # ${previous.version}`],
            ["", pulumi("up")],
          ] as const)
        : []),
      ["Look", pulumi("stack")],
      ["Destroy", pulumi("destroy")],
    ]),
  ].join("\n\n");
}
