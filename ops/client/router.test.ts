import { describe, expect, it } from "vitest";
import { StepError } from "../contract/errors.ts";
import { collectFiles, digestOf, encode, refusal } from "./router.ts";

const files = { "nginx.conf": "events {}\nhttp { bogus on; }\n", "router.js": "export default {};\n" };

describe("collectFiles", () => {
  it("takes certificate and key from the environment, the key for root alone", () => {
    const collected = collectFiles(files, { TLS_CERTIFICATE: "chain", TLS_KEY: "key" });
    expect(collected.map(({ name, mode }) => [name, mode])).toEqual([
      ["nginx.conf", "0644"],
      ["router.js", "0644"],
      ["tls/certificate.pem", "0644"],
      ["tls/key.pem", "0600"],
    ]);
  });

  it("refuses one without the other", () => {
    expect(() => collectFiles(files, { TLS_KEY: "key" })).toThrow("TLS_KEY without TLS_CERTIFICATE");
    expect(() => collectFiles(files, { TLS_CERTIFICATE: "chain", TLS_KEY: "" })).toThrow(
      "TLS_CERTIFICATE without TLS_KEY",
    );
  });
});

describe("digestOf", () => {
  const digest = (changed: Record<string, string>, env = {}): string =>
    digestOf(collectFiles({ ...files, ...changed }, env));

  it("does not depend on the order of the files", () => {
    expect(digestOf(collectFiles({ b: "2", a: "1" }, {}))).toBe(digestOf(collectFiles({ a: "1", b: "2" }, {})));
  });

  it("changes with every file, the key included", () => {
    const tls = { TLS_CERTIFICATE: "chain", TLS_KEY: "key" };
    const digests = [
      digest({}),
      digest({ "router.js": "" }),
      digest({}, tls),
      digest({}, { ...tls, TLS_KEY: "other" }),
    ];
    expect(new Set(digests).size).toBe(digests.length);
  });
});

it("encodes each file as one line, and marks the end", () => {
  const lines = encode(collectFiles({ "nginx.conf": "a\nb ü\n" }, {})).split("\n");
  expect(lines).toHaveLength(3);
  const [mode, name, data = ""] = (lines[0] ?? "").split(" ");
  expect([mode, name, Buffer.from(data, "base64").toString()]).toEqual(["0644", "nginx.conf", "a\nb ü\n"]);
  expect(lines.slice(1)).toEqual(["end", ""]);
});

describe("refusal", () => {
  it("shows nginx's words, the line, and that nothing changed", () => {
    const error = refusal(
      'nginx: [emerg] unknown directive "bogus" in /router/conf/0123456789abcdef.partial/nginx.conf:2\nnginx: configuration file test failed',
      "0123456789abcdef",
      collectFiles(files, {}),
    );
    expect(error).toBeInstanceOf(StepError);
    expect(error.message).toContain('unknown directive "bogus" in nginx.conf:2');
    expect(error.message).toContain("nginx.conf:2: http { bogus on; }");
    expect(error.message).toContain("Nothing was changed");
    expect(error.hint).toContain("nginx.conf.template");
  });

  it("points at the certificate where that is wrong, and shows nothing of the key", () => {
    const stderr =
      'nginx: [emerg] 7#7: cannot load certificate key "/router/conf/0123456789abcdef.partial/tls/key.pem": PEM_read_bio_PrivateKey() failed';
    const error = refusal(
      stderr,
      "0123456789abcdef",
      collectFiles(files, { TLS_CERTIFICATE: "chain", TLS_KEY: "very secret" }),
    );
    expect(error.message).toContain('cannot load certificate key "tls/key.pem"');
    expect(error.message).not.toContain("very secret");
    expect(error.hint).toContain("togather:tls.keyFile");
  });
});
