import { run } from "../../toolchain/run.ts";
import { project } from "../../toolchain/setup.ts";
import { asCounts, type Stage } from "./stage.ts";

/** A program of the npm packages, whose exit code says it all. */
export function check(name: string, command: string, ...args: string[]): Stage {
  return {
    name,
    needs: [],
    beside: "always",
    async run() {
      const { ok, output } = await run(command, args, { cwd: project, env: process.env });
      return { ...asCounts(ok ? 0 : 1), output };
    },
  };
}
