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
  const rows = (pairs: readonly (readonly [string, string])[]) => pairs.map(([label, value]) => `  ${label.padEnd(12)}${value}`).join("\n");
  const short = (path: string | undefined) => (path === undefined ? "" : relative(project, path).startsWith("..") ? path : relative(project, path));
  const other = outputs.activeSlot === "blue" ? "green" : "blue";
  const healthy = checked.every((check) => check.healthy);
  const title = healthy ? styleText(["bold", "green"], "Togather is up.") : styleText(["bold", "red"], "Togather is deployed, but not healthy from here.");
  return [
    title,
    rows([
      ...checked.map(({ url, answer }) => [new URL(url).protocol === "https:" ? "HTTPS" : "HTTP", `${url}/health  ${answer}`] as const),
      ["Active slot", outputs.activeSlot ?? ""],
      ["Version", `${outputs.version ?? ""} (${outputs.commit?.slice(0, 12) ?? ""})`],
      ["Deployment", outputs.deploymentId ?? ""],
      ["Log", short(outputs.logFile)],
    ]),
    styleText("bold", "What next"),
    rows([
      ["Release", "git commit, then npm start: the commit goes into the idle slot, and serves once it is healthy"],
      ["Roll back", `npm run pulumi -- config set activeSlot ${other} --stack ${STACK} && npm run pulumi -- up --stack ${STACK}`],
      ["Look", `npm run pulumi -- stack --stack ${STACK}`],
      ["Destroy", `npm run pulumi -- destroy --stack ${STACK}`],
    ]),
  ].join("\n\n");
}
