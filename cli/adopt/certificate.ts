/** Copies Caddy's certificate, with which the router can serve HTTPS. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { certificateProblems, describeCertificate } from "../../config/certificate.ts";
import type { ForeignHost } from "./host.ts";
import type { Node } from "./look.ts";

/** A certificate of Caddy's on the host. */
export interface FoundCertificate {
  /** For people. */
  description: string;
  certificate: string;
  key: string;
}

/** The public names of a node: from its environment file, then from Caddy's sites. */
export function publicNames(values: Readonly<Record<string, string>>, sites: readonly string[]): string[] {
  const hosts = [values["PUBLIC_URL"], values["SERVER_BASE_URL"]].flatMap((url) =>
    url === undefined || url === "" ? [] : [url.replace(/^https?:\/\//, "").replace(/[:/].*$/, "")],
  );
  return [...new Set([...hosts, ...sites])];
}

/** The path of Caddy's certificate for a node's name; without a name, the only one. */
export function choose(paths: readonly string[], names: readonly string[]): string | undefined {
  const of = (path: string): string => path.slice(path.lastIndexOf("/") + 1, -".crt".length);
  for (const name of names) {
    const found = paths.find((path) => of(path) === name);
    if (found !== undefined) return found;
  }
  return paths.length === 1 ? paths[0] : undefined;
}

/** @returns undefined where Caddy has no usable one. */
export async function findCertificate(
  host: ForeignHost,
  node: Node,
  values: Readonly<Record<string, string>>,
): Promise<FoundCertificate | undefined> {
  const { caddyData } = node.names;
  const directory = `${caddyData}/certificates`;
  const paths = (await host.filesBelow(node.databaseImage, directory, ".crt")) ?? [];
  const path = choose(paths, publicNames(values, node.sites));
  if (path === undefined) return undefined;
  const [certificate, key] = await Promise.all([
    host.file(node.databaseImage, `${directory}/${path}`),
    host.file(node.databaseImage, `${directory}/${path.slice(0, -".crt".length)}.key`),
  ]);
  if (
    certificate === undefined ||
    key === undefined ||
    certificateProblems({ certificate, key }).some(({ severity }) => severity === "broken")
  )
    return undefined;
  return { description: describeCertificate(certificate), certificate, key };
}

/**
 * Writes it so that only the operator can read it.
 * @returns the two files, relative to the project.
 */
export function keepCertificate(
  project: string,
  stack: string,
  { certificate, key }: FoundCertificate,
): { certificateFile: string; keyFile: string } {
  const files = {
    certificateFile: join(".togather", "tls", `${stack}-certificate.pem`),
    keyFile: join(".togather", "tls", `${stack}-key.pem`),
  };
  mkdirSync(dirname(join(project, files.certificateFile)), { recursive: true });
  writeFileSync(join(project, files.certificateFile), `${certificate.trim()}\n`);
  writeFileSync(join(project, files.keyFile), `${key.trim()}\n`, { mode: 0o600 });
  return files;
}
