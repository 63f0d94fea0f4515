/**
 * Builds this project's own images before the first test: test files that run side by side would each build missing
 * ones.
 */
import { build } from "../../ops/client/build.ts";
import { createLog } from "../../ops/contract/log.ts";
import { createRedactor } from "../../ops/contract/redact.ts";
import { bundledImageDigest, bundledImageTag, type BundledImage } from "../../ops/image.ts";

/** Builds those that the engine doesn't have in their current version. */
export async function buildImages(...images: readonly BundledImage[]): Promise<void> {
  const log = createLog({ redactor: createRedactor({}), show: () => undefined, verbose: false });
  const context = {
    log,
    signal: new AbortController().signal,
    env: process.env,
    payload: () => Promise.resolve(Buffer.alloc(0)),
    paths: { state: "", logs: "", backups: "", router: "" },
  };
  for (const image of images)
    await build(
      {
        contract: 1,
        name: "test-images",
        environment: "staging",
        source: { kind: "bundled", image, digest: bundledImageDigest(image) },
        dockerfile: "Dockerfile",
        tag: bundledImageTag(image),
      },
      context,
    );
}

/** Called by vitest once for each run. */
export default (): Promise<void> => buildImages("postgres", "nginx", "ops");
