/**
 * How Node runs this program. Imported before anything else, since it is about what is imported then. Of a no-op preview
 * that took 4.6 s on a busy machine of 2 cores the first two saved 1.1 s, of one of 2.1 s the third saves 0.35 s.
 */
import { createRequire, enableCompileCache, Module } from "node:module";
import { join } from "node:path";

// The SDK alone is some 2,000 modules; compiled once for all runs. Beside them, so that it goes when they go.
enableCompileCache(join(import.meta.dirname, "..", "node_modules", ".cache", "node"));

// Pulumi takes a stack for each of its promises, hundreds of them, and shows one only to who looks for leaks. All others are as
// Node has them: it strips types in place, so that the lines of this program are right, and source-map-support has nothing to look up.
const showsLeaks = process.env["PULUMI_DEBUG_PROMISE_LEAKS"] !== undefined;
Error.prepareStackTrace = (error, frames) =>
  !showsLeaks && frames[0]?.getFunctionName() === "debuggablePromise"
    ? ""
    : [error, ...frames].map(String).join("\n    at ");

// What Pulumi gathers of a program for a function that runs in a cloud takes npm's resolver and registry client to find out: some
// 460 of the modules above, a sixth of a preview's time. This program has no such function; who asks all the same gets an answer.
const require = createRequire(import.meta.url);
const codePaths = require.resolve("@pulumi/pulumi/runtime/closure/codePaths.js");
const loaded = Object.assign(new Module(codePaths), {
  filename: codePaths,
  loaded: true,
  exports: {
    computeCodePaths(...options: unknown[]): unknown {
      if (require.cache[codePaths] === loaded) Reflect.deleteProperty(require.cache, codePaths);
      return (require(codePaths) as { computeCodePaths(...options: unknown[]): unknown }).computeCodePaths(...options);
    },
  },
});
require.cache[codePaths] = loaded;
