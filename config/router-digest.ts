import { collectFiles, digestOf } from "../ops/client/router.ts";
import type { Secret } from "./secrets/secret.ts";

/**
 * Digests that identify the router's configuration on the host: of all of it, and without its certificate.
 * @param files without the certificate, by name.
 */
export function routerDigests(
  files: Record<string, string>,
  tls: { certificate: string; key: Secret } | undefined,
): { digest: string; files: string } {
  const environment = tls === undefined ? {} : { TLS_CERTIFICATE: tls.certificate, TLS_KEY: tls.key.reveal() };
  return { digest: digestOf(collectFiles(files, environment)), files: digestOf(collectFiles(files, {})) };
}
