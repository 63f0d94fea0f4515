import { generate } from "selfsigned";

/** A certificate of its own with its key, PEM texts. Days are from now. */
export async function certificatePair({ from = -1, until = 90 }: { from?: number; until?: number } = {}): Promise<{ certificate: string; key: string }> {
  const day = 86_400_000;
  const { cert, private: key } = await generate([{ name: "commonName", value: "events.example.org" }], {
    algorithm: "sha256",
    keyType: "ec",
    curve: "P-256",
    notBeforeDate: new Date(Date.now() + from * day),
    notAfterDate: new Date(Date.now() + until * day),
  });
  return { certificate: cert, key };
}
