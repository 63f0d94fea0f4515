#!/usr/bin/env node
// `togather` as a command of its own (npm link, npx): the same as `npm run togather --`.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { foreground } from "../toolchain/foreground.mjs";

const project = dirname(dirname(fileURLToPath(import.meta.url)));
process.exitCode = await foreground(process.execPath, [
  join(project, "toolchain/bootstrap.mjs"),
  "cli/togather.ts",
  ...process.argv.slice(2),
]);
