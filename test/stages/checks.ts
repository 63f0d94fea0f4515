import { foreground } from "../../toolchain/foreground.mjs";
import { project } from "../../toolchain/setup.ts";
import { asCounts, type Stage } from "./stage.ts";

/** A program of the npm packages, whose exit code says it all. */
export function check(name: string, command: string, ...args: string[]): Stage {
  return { name, needs: [], run: async () => asCounts(await foreground(command, args, { cwd: project })) };
}
