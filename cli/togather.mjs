#!/usr/bin/env node
// `togather` as a command of its own (npm link, npx): the same as `npm run togather --`.
import { bootstrap } from "../toolchain/bootstrap.mjs";

await bootstrap(["cli/togather.ts", ...process.argv.slice(2)]);
