import { createPrivateKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { certificateProblems, describeCertificate, isCertificateOf } from "./certificate.ts";
import { certificatePair } from "../test/certificate-pair.ts";

describe("a certificate", () => {
  it("that is valid and has its key is fine", async () => {
    const pair = await certificatePair();
    expect(certificateProblems(pair)).toEqual([]);
    expect(describeCertificate(pair.certificate)).toMatch(/events\.example\.org.*, until \d{4}-\d\d-\d\d$/);
    // A chain: the server's own comes first.
    expect(
      certificateProblems({ ...pair, certificate: `${pair.certificate}\n${(await certificatePair()).certificate}` }),
    ).toEqual([]);
  });

  it("is that of a public URL's host, or of another one", async () => {
    const { certificate } = await certificatePair();
    const hosts = [
      "https://events.example.org",
      "https://events.example.org:8443",
      "https://other.example.org",
      "https://127.0.0.1:8443",
      "https://[::1]",
    ];
    expect(hosts.map((url) => isCertificateOf(certificate, url))).toEqual([true, true, false, false, false]);
  });

  it("whose issuer is missing in its file is told", async () => {
    const root = await certificatePair({ name: "A Root" });
    const intermediate = await certificatePair({ name: "An Issuer", issuer: root });
    const leaf = await certificatePair({ issuer: intermediate });
    expect(certificateProblems(leaf)).toEqual([
      expect.objectContaining({
        severity: "soon",
        what: expect.stringMatching(
          /^the file holds the server's certificate alone, without that of its issuer \(An Issuer\)/,
        ) as string,
      }),
    ]);
    expect(certificateProblems({ ...leaf, certificate: `${leaf.certificate}\n${intermediate.certificate}` })).toEqual(
      [],
    );
    // The worst problem comes first.
    expect(certificateProblems(await certificatePair({ issuer: intermediate, until: 5 }))).toEqual([
      expect.objectContaining({ what: expect.stringContaining("expires in") as string }),
    ]);
  });

  it("whose issuer is missing among others in its file is told, in whatever order they stand", async () => {
    const root = await certificatePair({ name: "A Root" });
    const intermediate = await certificatePair({ name: "An Issuer", issuer: root });
    const stranger = await certificatePair({ name: "A Stranger" });
    const leaf = await certificatePair({ issuer: intermediate });
    const problems = (...behind: string[]): string[] =>
      certificateProblems({ ...leaf, certificate: [leaf.certificate, ...behind].join("\n") }).map(({ what }) => what);
    for (const behind of [[root.certificate], [stranger.certificate], [leaf.certificate]])
      expect(problems(...behind)).toEqual([
        expect.stringMatching(
          /^the file holds the server's certificate and others, without that of its issuer \(An Issuer\)/,
        ),
      ]);
    expect(problems(root.certificate, intermediate.certificate)).toEqual([]);
    expect(problems(intermediate.certificate, root.certificate)).toEqual([]);
    expect(problems(intermediate.certificate.replaceAll("\n", "\r\n"))).toEqual([]);
    const late = await certificatePair({ name: "An Issuer", issuer: root, from: -9, until: -1 });
    const ofLate = await certificatePair({ issuer: late });
    expect(certificateProblems({ ...ofLate, certificate: `${ofLate.certificate}\n${late.certificate}` })).toEqual([
      expect.objectContaining({
        what: expect.stringMatching(
          /^the certificate of its issuer in the same file \(An Issuer\) has expired on /,
        ) as string,
      }),
    ]);
  });

  it("with another's key, or none that can be read, is broken", async () => {
    const [pair, other] = await Promise.all([certificatePair(), certificatePair()]);
    expect(certificateProblems({ ...pair, key: other.key })).toEqual([
      expect.objectContaining({ severity: "broken", what: "certificate and key don't belong together" }),
    ]);
    expect(certificateProblems({ ...pair, key: "-----BEGIN PRIVATE KEY-----\n" })).toEqual([
      expect.objectContaining({ severity: "broken", what: expect.stringContaining("the key can't be read") as string }),
    ]);
    const locked = createPrivateKey(pair.key).export({
      format: "pem",
      type: "pkcs8",
      cipher: "aes-256-cbc",
      passphrase: "x",
    });
    expect(certificateProblems({ ...pair, key: locked.toString() })).toEqual([
      expect.objectContaining({ severity: "broken", what: "the key has a passphrase" }),
    ]);
    expect(certificateProblems({ ...pair, certificate: "-----BEGIN CERTIFICATE-----\n" })).toEqual([
      expect.objectContaining({
        severity: "broken",
        what: expect.stringContaining("the certificate can't be read") as string,
      }),
    ]);
  });

  it("whose key nginx would refuse is broken", async () => {
    expect(certificateProblems(await certificatePair({ rsaBits: 1024 }))).toEqual([
      expect.objectContaining({
        severity: "broken",
        what: "its RSA key has 1024 bits, and the router takes none below 2048",
      }),
    ]);
    expect(certificateProblems(await certificatePair({ rsaBits: 2048 }))).toEqual([]);
  });

  it.each([
    [{ until: 15 }, undefined],
    [{ until: 13 }, /^the certificate expires in 1[23] days, on /],
    [{ from: -9, until: -1 }, /^the certificate has expired on /],
    [{ from: 2 }, /^the certificate is valid only from /],
  ])("of %o: %s", async (days, what) => {
    const problems = certificateProblems(await certificatePair(days));
    expect(problems.map((problem) => problem.severity)).toEqual(what === undefined ? [] : ["soon"]);
    if (what !== undefined) expect(problems[0]?.what).toMatch(what);
  });
});
