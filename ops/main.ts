/**
 * The client: `node ops/main.ts STEP`, on the operator's machine. It reads the request from TOGATHER_REQUEST, runs the
 * step, most often in a container on the Docker host, and prints the result as one line of JSON.
 */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

// A deployment starts this a dozen times: compiled code is kept, as for everything that npm starts here.
enableCompileCache(join(import.meta.dirname, "..", "node_modules", ".cache", "node"));
const { main } = await import("./client/main.ts");
process.exitCode = await main();
