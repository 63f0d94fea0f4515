import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { rootCertificates } from "node:tls";

/** A problem of a certificate and its key: a broken one can't be served, another one should be replaced. */
export interface CertificateProblem {
  severity: "broken" | "soon";
  what: string;
  /** Default: a pair that is valid for long enough. */
  expected?: string;
  fix: string;
}

/**
 * Renewals (certbot's and others') are tried 30 days before the end: with two weeks left they have failed for a while.
 */
export const expiryWarningDays = 14;

/** Minimum of RSA bits that OpenSSL accepts at Debian's security level. */
const leastBits = 2048;

const dayMs = 86_400_000;
const renew = "renew it (certbot renew), then run this again: it reaches the router with the next deployment";

/**
 * Checks a server's certificate (the first one of a chain) and its key, PEM texts.
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
        what: /ENCRYPTED/.test(key) ? "the key has a passphrase" : `the key can't be read: ${(error as Error).message}`,
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
  const bits = leaf.publicKey.asymmetricKeyDetails?.modulusLength ?? leastBits;
  if (bits < leastBits)
    return [
      {
        severity: "broken",
        what: `its RSA key has ${bits} bits, and the router takes none below ${leastBits}`,
        fix: "have a certificate made for another key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one",
      },
    ];
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

const pem = /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END \1?CERTIFICATE-----/g;

/** The certificates of a file except the first. Undefined: one of them can't be read; nginx says which. */
function others(file: string): X509Certificate[] | undefined {
  try {
    return [...file.matchAll(pem)].slice(1).map(([text]) => new X509Certificate(text));
  } catch {
    return undefined;
  }
}

const commonName = (names: string): string => /^CN=(.*)$/m.exec(names)?.[1] ?? names.replaceAll("\n", ", ");
/** Not `checkIssued`, which demands more of an issuer than clients do. */
const isIssuer = (one: X509Certificate, of: X509Certificate): boolean =>
  one.subject === of.issuer && one.fingerprint256 !== of.fingerprint256 && of.verify(one.publicKey);
/** Whether it is its own issuer: a root, which clients either have already or never accept. */
const isRoot = (one: X509Certificate): boolean => one.issuer === one.subject;
const isOfKnownRoot = (one: X509Certificate): boolean =>
  rootCertificates.some((root) => new X509Certificate(root).subject === one.issuer);

/**
 * Problems of a chain that ends in the file without a root's certificate: clients that don't know the next issuer can't
 * verify it.
 */
function chainProblems(leaf: X509Certificate, file: string): CertificateProblem[] {
  const rest = others(file);
  if (rest === undefined) return [];
  const last = rest.reduce((from) => rest.find((one) => isIssuer(one, from)) ?? from, leaf);
  const late = rest.find((one) => Date.now() >= Date.parse(one.validTo));
  if (late !== undefined && !isRoot(late))
    return [
      {
        severity: "soon",
        what: `the certificate of its issuer in the same file (${commonName(late.subject)}) has expired on ${new Date(late.validTo).toISOString().slice(0, 10)}: clients refuse the connection`,
        fix: "take the issuer's newer certificate into the file (certbot: fullchain.pem of a renewal)",
      },
    ];
  if (isRoot(last) || isOfKnownRoot(last)) return [];
  const issuer = commonName(leaf.issuer);
  // The last certificate's issuer may be a root of the operator's own, which need not be in the file.
  if (last !== leaf) return [];
  const holds = rest.length === 0 ? "the server's certificate alone" : "the server's certificate and others";
  return [
    {
      severity: "soon",
      what: `the file holds ${holds}, without that of its issuer (${issuer}): browsers often find it elsewhere, most other clients refuse the connection`,
      expected: "the certificates of its issuers behind it, the root's may be left out",
      fix: "name the file with the whole chain (certbot: fullchain.pem, not cert.pem); where a root of your own has issued it, append that",
    },
  ];
}

/** Whether the certificate is valid for this URL's host: otherwise browsers refuse it. */
export function isCertificateOf(certificate: string, url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, "$1");
  const leaf = new X509Certificate(certificate);
  return (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) !== undefined;
}

/** Subject and expiry of a certificate: `CN=events.example.org, until 2026-04-28`. */
export function describeCertificate(certificate: string): string {
  const { subject, subjectAltName, validTo } = new X509Certificate(certificate);
  return `${subjectAltName ?? subject.replaceAll("\n", ", ")}, until ${new Date(validTo).toISOString().slice(0, 10)}`;
}
