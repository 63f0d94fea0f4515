import { generate } from "selfsigned";

export interface Pair {
  certificate: string;
  key: string;
}

/** A certificate with its key, PEM texts: self-signed, unless an issuer is named. Days are from now. */
export async function certificatePair({
  from = -1,
  until = 90,
  name = "events.example.org",
  issuer,
  rsaBits,
}: { from?: number; until?: number; name?: string; issuer?: Pair; rsaBits?: number } = {}): Promise<Pair> {
  const day = 86_400_000;
  const { cert, private: key } = await generate([{ name: "commonName", value: name }], {
    ...(issuer === undefined ? {} : { ca: { cert: issuer.certificate, key: issuer.key } }),
    algorithm: "sha256",
    ...(rsaBits === undefined ? { keyType: "ec", curve: "P-256" } : { keyType: "rsa", keySize: rsaBits }),
    notBeforeDate: new Date(Date.now() + from * day),
    notAfterDate: new Date(Date.now() + until * day),
  });
  return { certificate: cert, key };
}
