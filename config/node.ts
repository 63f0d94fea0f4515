/**
 * How Node runs this program. Imported before anything else, since it is about what is imported then. Of a no-op preview
 * that took 4.6 s on a busy machine of 2 cores the two together saved 1.1 s.
 */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

// The SDK alone is some 2,000 modules; compiled once for all runs. Beside them, so that it goes when they go.
enableCompileCache(join(import.meta.dirname, "..", "node_modules", ".cache", "node"));

// Pulumi takes a stack for each of its promises, and source-map-support would look up every line of it. Node strips types in
// place, so that the lines of this program are right as they are.
// The typings know no undefined, which is the value that it has in Node itself.
Error.prepareStackTrace = undefined as unknown as typeof Error.prepareStackTrace;
