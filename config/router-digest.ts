import { collectFiles, digestOf } from "../ops/client/router.ts";
import type { Secret } from "./secrets/secret.ts";

/** By which the router's configuration with its certificate is known on the host. @param files without the certificate, by name. */
export function routerDigest(
  files: Record<string, string>,
  tls: { certificate: string; key: Secret } | undefined,
): string {
  return digestOf(
    collectFiles(files, tls === undefined ? {} : { TLS_CERTIFICATE: tls.certificate, TLS_KEY: tls.key.reveal() }),
  );
}
