import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generate } from "selfsigned";
import { expiryWarningDays } from "../../config/certificate.ts";

const DAY = 24 * 60 * 60 * 1000;
const LIFETIME = 365 * DAY;
/** It is renewed when less than this is left: before any warning of its expiry. */
const MARGIN = (expiryWarningDays + 1) * DAY;

function isValid(certificateFile: string, keyFile: string, now: number): boolean {
  if (!existsSync(certificateFile) || !existsSync(keyFile)) return false;
  const { validTo } = new X509Certificate(readFileSync(certificateFile));
  return Date.parse(validTo) - now > MARGIN;
}

/** A self-signed certificate for this machine in `certificate.pem` and `key.pem`; true when it was created. */
export async function ensureCertificate(directory: string, now = Date.now()): Promise<boolean> {
  const certificateFile = join(directory, "certificate.pem");
  const keyFile = join(directory, "key.pem");
  if (isValid(certificateFile, keyFile, now)) return false;
  const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
    algorithm: "sha256",
    keyType: "ec",
    curve: "P-256",
    notAfterDate: new Date(now + LIFETIME),
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
          { type: 7, ip: "::1" },
        ],
      },
    ],
  });
  mkdirSync(directory, { recursive: true });
  writeFileSync(keyFile, key, { mode: 0o600 });
  writeFileSync(certificateFile, cert);
  return true;
}
