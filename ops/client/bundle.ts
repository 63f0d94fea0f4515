/** The program of the ops image: `ops/container/main.ts` and everything it needs, in one file. */
import { join } from "node:path";
import { build } from "esbuild";
import { projectDirectory } from "../image.ts";

export async function bundleStepProgram(): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [join(projectDirectory, "ops", "container", "main.ts")],
    absWorkingDir: projectDirectory,
    bundle: true,
    write: false,
    platform: "node",
    // Debian trixie's Node.
    target: "node20",
    format: "cjs",
    // Optional parts of `pg`, loaded on demand only.
    external: ["pg-native", "pg-cloudflare"],
    minifySyntax: true,
    legalComments: "none",
    logLevel: "silent",
  });
  const bundle = outputFiles[0];
  if (bundle === undefined) throw new Error("esbuild made no file");
  return bundle.contents;
}
