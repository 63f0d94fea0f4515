/**
 * Settings of Node for this program. Imported before anything else, since they affect later imports. In a no-op preview
 * of 4.6 s on a busy machine of 2 cores the first two saved 1.1 s; in one of 2.1 s the third saves 0.35 s.
 */
import { createRequire, enableCompileCache, Module } from "node:module";
import { join } from "node:path";

// The SDK alone has some 2,000 modules; they are compiled once for all runs. The cache is beside them, and is removed
// together with them.
enableCompileCache(join(import.meta.dirname, "..", "node_modules", ".cache", "node"));

// Pulumi records a stack trace for each of its hundreds of promises, and shows one only to people who look for leaks.
// Other stack traces come from Node: it strips types in place, so that the lines of this program are right, and
// source-map-support has nothing to look up.
const showsLeaks = process.env["PULUMI_DEBUG_PROMISE_LEAKS"] !== undefined;
Error.prepareStackTrace = (error, frames) =>
  !showsLeaks && frames[0]?.getFunctionName() === "debuggablePromise"
    ? ""
    : [error, ...frames].map(String).join("\n    at ");

// Pulumi collects a program's packages for functions that run in a cloud, and loads npm's resolver and registry client
// for that: some 460 of the modules above, a sixth of a preview's time. This program has no such function; a call would
// still get an answer.
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
