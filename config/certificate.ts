import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";

/** What is wrong with a certificate and its key; a broken one can't be served, another one should be replaced. */
export interface CertificateProblem {
  severity: "broken" | "soon";
  what: string;
  fix: string;
}

/** Renewals (certbot's and others') are tried 30 days before the end: when two weeks are left they have failed for a while. */
export const expiryWarningDays = 14;

const dayMs = 86_400_000;
const renew = "renew it (certbot renew), then run this again: it reaches the router with the next deployment";

/**
 * Looks at a server's certificate (the first one of a chain) and its key, PEM texts.
 * @param now ms since the epoch.
 */
export function certificateProblems({ certificate, key }: { certificate: string; key: string }, now = Date.now()): CertificateProblem[] {
  let leaf: X509Certificate;
  let privateKey: KeyObject;
  try {
    leaf = new X509Certificate(certificate);
  } catch (error) {
    return [{ severity: "broken", what: `the certificate can't be read: ${(error as Error).message}`, fix: "openssl x509 -noout -text -in FILE shows what is in it" }];
  }
  try {
    privateKey = createPrivateKey(key);
  } catch (error) {
    return [{ severity: "broken", what: `the key can't be read: ${(error as Error).message}`, fix: "openssl pkey -noout -in FILE tells; the router takes no key with a passphrase" }];
  }
  if (!leaf.checkPrivateKey(privateKey)) {
    return [{ severity: "broken", what: "certificate and key don't belong together", fix: "name both files of the same pair; the certificate of the server comes first in its file" }];
  }
  const [from, to] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
  if (now < from) return [{ severity: "soon", what: `the certificate is valid only from ${day(from)}`, fix: "check the clock of this machine (date -u), or take another certificate" }];
  if (now >= to) return [{ severity: "soon", what: `the certificate has expired on ${day(to)}`, fix: renew }];
  const days = Math.floor((to - now) / dayMs);
  if (days < expiryWarningDays) return [{ severity: "soon", what: `the certificate expires in ${days} days, on ${day(to)}`, fix: renew }];
  return [];
}

/** `CN=events.example.org, until 2026-04-28`: which certificate it is. */
export function describeCertificate(certificate: string): string {
  const { subject, subjectAltName, validTo } = new X509Certificate(certificate);
  return `${subjectAltName ?? subject.replaceAll("\n", ", ")}, until ${new Date(validTo).toISOString().slice(0, 10)}`;
}
