import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { rootCertificates } from "node:tls";

/** Problems of a certificate and its key: a broken one can't be served, another one should be replaced. */
export interface CertificateProblem {
  severity: "broken" | "soon";
  what: string;
  /** A pair that is valid for long enough, unless it says something else. */
  expected?: string;
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
export function certificateProblems(
  { certificate, key }: { certificate: string; key: string },
  now = Date.now(),
): CertificateProblem[] {
  let leaf: X509Certificate;
  let privateKey: KeyObject;
  try {
    leaf = new X509Certificate(certificate);
  } catch (error) {
    return [
      {
        severity: "broken",
        what: `the certificate can't be read: ${(error as Error).message}`,
        fix: "openssl x509 -noout -text -in FILE shows what is in it",
      },
    ];
  }
  try {
    privateKey = createPrivateKey(key);
  } catch (error) {
    return [
      {
        severity: "broken",
        what: `the key can't be read: ${(error as Error).message}`,
        fix: "openssl pkey -noout -in FILE tells; the router takes no key with a passphrase",
      },
    ];
  }
  if (!leaf.checkPrivateKey(privateKey)) {
    return [
      {
        severity: "broken",
        what: "certificate and key don't belong together",
        fix: "name both files of the same pair; the certificate of the server comes first in its file",
      },
    ];
  }
  const [from, to] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
  if (now < from)
    return [
      {
        severity: "soon",
        what: `the certificate is valid only from ${day(from)}`,
        fix: "check the clock of this machine (date -u), or take another certificate",
      },
    ];
  if (now >= to) return [{ severity: "soon", what: `the certificate has expired on ${day(to)}`, fix: renew }];
  const days = Math.floor((to - now) / dayMs);
  if (days < expiryWarningDays)
    return [{ severity: "soon", what: `the certificate expires in ${days} days, on ${day(to)}`, fix: renew }];
  return chainProblems(leaf, certificate);
}

/** A certificate whose issuer is no root, alone in its file: whoever has not met that issuer before can't check it. */
function chainProblems(leaf: X509Certificate, file: string): CertificateProblem[] {
  const isAlone = (file.match(/-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/g) ?? []).length === 1;
  if (
    !isAlone ||
    leaf.issuer === leaf.subject ||
    rootCertificates.some((root) => new X509Certificate(root).subject === leaf.issuer)
  )
    return [];
  const issuer = /^CN=(.*)$/m.exec(leaf.issuer)?.[1] ?? leaf.issuer.replaceAll("\n", ", ");
  return [
    {
      severity: "soon",
      what: `the file holds the server's certificate alone, without that of its issuer (${issuer}): browsers often find it elsewhere, most other clients refuse the connection`,
      expected: "the certificates of its issuers behind it, the root's may be left out",
      fix: "name the file with the whole chain (certbot: fullchain.pem, not cert.pem); where a root of your own has issued it, append that",
    },
  ];
}

/** Whether visitors of this URL's host get a certificate of its name: otherwise browsers refuse it. */
export function isCertificateOf(certificate: string, url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, "$1");
  const leaf = new X509Certificate(certificate);
  return (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) !== undefined;
}

/** `CN=events.example.org, until 2026-04-28`: which certificate it is. */
export function describeCertificate(certificate: string): string {
  const { subject, subjectAltName, validTo } = new X509Certificate(certificate);
  return `${subjectAltName ?? subject.replaceAll("\n", ", ")}, until ${new Date(validTo).toISOString().slice(0, 10)}`;
}
