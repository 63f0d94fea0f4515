import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createRedactor, REDACTED } from "./redact.ts";

const canary = "c4n4ry-S3cret/with@odd:signs";
const environment = {
  DATABASE_URL: `postgresql://owner:${encodeURIComponent(canary)}@db:5432/togather`,
  JWT_SECRET: "jwt-canary-0123456789abcdef0123456789",
  ADMIN_API_KEY: "admin-canary-42",
  SERVER_SECRETS: JSON.stringify(["postgresql://app:app%20canary%2F7@db:5432/togather", 'smtp "canary" 99']),
  TLS_KEY:
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\nAgEAAoIBAQC7VJTUt9Us8cKB\n-----END PRIVATE KEY-----\n",
};
const redactor = createRedactor(environment);

describe("known values", () => {
  const secrets = [
    canary,
    encodeURIComponent(canary),
    environment.JWT_SECRET,
    environment.ADMIN_API_KEY,
    "app canary/7",
    "app%20canary%2F7",
    'smtp "canary" 99',
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj",
  ];
  // Text that may surround a secret.
  const surroundings: ((secret: string) => string)[] = [
    (secret) => secret,
    (secret) => `pq: password authentication failed for "${secret}"`,
    (secret) => `x${secret}y`,
    (secret) => `a\n${secret}\nb ${secret}`,
    (secret) => JSON.stringify({ deep: [{ text: `is ${secret} here` }] }),
    (secret) => JSON.stringify(JSON.stringify({ text: secret })),
    (secret) => `?next=${encodeURIComponent(secret)}`,
  ];
  it.each(secrets)("%s is nowhere", (secret) => {
    for (const around of surroundings) expect(redactor.text(around(secret))).not.toContain(secret);
  });

  it("holds for random secrets with any characters", () => {
    for (let round = 0; round < 200; round += 1) {
      const secret =
        randomBytes(18)
          .toString("latin1")
          .replace(/[\0\s]/g, "'") + `"\\%$#${round}`;
      const random = createRedactor({
        DATABASE_URL: `postgres://u:${encodeURIComponent(secret)}@h/d`,
        ADMIN_API_KEY: `k${secret}`,
      });
      for (const around of surroundings) {
        const output = random.text(around(secret));
        expect(output).not.toContain(secret);
        expect(output).not.toContain(encodeURIComponent(secret));
      }
    }
  });

  it("leaves ordinary texts alone", () => {
    const text =
      "snapshot: 16.0 MB database, schema version 4 at db:5432, see https://example.org:8080/health?x=1 and docker logs togather-a-blue";
    expect(redactor.text(text)).toBe(text);
    expect(createRedactor({ ADMIN_API_KEY: "ab" }).text("a cab")).toBe("a cab");
  });
});

describe("the reference's patterns, for values that nobody knows", () => {
  const nobody = createRedactor({});
  it.each([
    ["DATABASE_URL=postgres://a:hunter2222@h/d", `DATABASE_URL=${REDACTED}`],
    ["JWT_SECRET=hunter2222 next", `JWT_SECRET=${REDACTED} next`],
    ["ADMIN_API_KEY='hunter 2222' next", `ADMIN_API_KEY=${REDACTED} next`],
    ["host=db password=hunter2222 user=a", `host=db password=${REDACTED} user=a`],
    ["PGPASSWORD=hunter2222", `PGPASSWORD=${REDACTED}`],
    ["Authorization: Bearer hunter2222", `Authorization: Bearer ${REDACTED}`],
    ["curl -H 'authorization: bearer hunter2222'", `curl -H 'authorization: bearer ${REDACTED}'`],
    ["postgresql://owner:hunter2222@db:5432/x", `postgresql://owner:${REDACTED}@db:5432/x`],
    ["parse postgres://u:hunt/er@2222@db:1/x: bad", `parse postgres://u:${REDACTED}@db:1/x: bad`],
    ['{"jwt_secret":"hunter2222","a":1}', `{"jwt_secret":"${REDACTED}","a":1}`],
    ['{"adminApiKey": "hunter2222"}', `{"adminApiKey": "${REDACTED}"}`],
    ["https://x/?password=hunter2222&y=1", `https://x/?password=${REDACTED}&y=1`],
  ])("%s", (input, output) => {
    expect(nobody.text(input)).toBe(output);
  });

  it("keeps JSON valid", () => {
    const json = JSON.stringify({
      message: 'password="x y\\"z"',
      DATABASE_URL: "postgres://a:b@c/d",
      nested: JSON.stringify({ password: "hunter2222", n: 1 }),
    });
    expect(() => JSON.parse(nobody.text(json)) as unknown).not.toThrow();
    expect(nobody.text(json)).not.toContain("hunter2222");
  });

  it("takes private keys out as a whole", () => {
    expect(nobody.text(`a ${environment.TLS_KEY} b`)).toBe(`a ${REDACTED}\n b`);
  });
});

describe("values", () => {
  it("are redacted at any depth, and under secret names", () => {
    const output = redactor.value({
      a: [canary, { b: `x ${canary}` }],
      password: "short",
      count: 3,
      none: null,
      error: new Error(canary),
    });
    expect(JSON.stringify(output)).not.toContain(canary);
    expect(output).toMatchObject({ password: REDACTED, count: 3, none: null, error: REDACTED });
  });
});

describe("a hint", () => {
  it.each([
    "put the value in single quotes: JWT_SECRET='…'",
    'close it: ADMIN_API_KEY="…".',
    "DATABASE_PASSWORD=… npm start",
    "PULUMI_CONFIG_PASSPHRASE=... pulumi up",
    "echo JWT_SECRET=$(openssl rand -hex 32) >> .env.production",
    "put a new one there, such as postgresql://owner:…@host:5432/database?sslmode=require",
  ])("is shown as it is: %s", (hint) => {
    expect(redactor.text(hint)).toBe(hint);
  });

  it.each([
    "JWT_SECRET=…realsecret",
    "postgresql://owner:…@x:realsecret@host/database",
    "postgresql://owner:…x@host/d",
    "password='…x'",
    "JWT_SECRET=$(cat realsecret)",
  ])("is no way round: %s", (text) => {
    expect(redactor.text(text)).toContain(REDACTED);
  });
});
