import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parse } from "yaml";
import { describe, expect, it } from "vitest";
import { freePorts } from "./free-port.ts";
import { ensureCertificate } from "./local-certificate.ts";
import { ensureDevelopmentSecrets } from "../development/secrets.ts";
import { ensureSecrets } from "./local-secrets.ts";
import { LocalStackFile, putIntoIdleSlot } from "./local-stack.ts";
import { StackFile } from "../stack-file.ts";
import type { ReleaseSource } from "./release-source.ts";
import { temporaryDirectory } from "../../test/fake-machine.ts";

const mode = (file: string) => statSync(file).mode & 0o777;

describe("local secrets", () => {
  it("are made up once, for the user's eyes only", () => {
    const file = join(temporaryDirectory(), ".env.local");
    expect(ensureSecrets(file)).toEqual(["JWT_SECRET", "ADMIN_API_KEY", "DATABASE_PASSWORD"]);
    const text = readFileSync(file, "utf8");
    expect(text.match(/^[A-Z_]+=[\w-]{43,}$/gm)).toHaveLength(3);
    expect(mode(file)).toBe(0o600);
    expect(ensureSecrets(file)).toEqual([]);
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  it("leave what the user wrote, and add what is missing", () => {
    const file = join(temporaryDirectory(), ".env.local");
    writeFileSync(file, "# mine\nJWT_SECRET=abc\nADMIN_API_KEY=", { mode: 0o644 });
    expect(ensureSecrets(file)).toEqual(["ADMIN_API_KEY", "DATABASE_PASSWORD"]);
    expect(readFileSync(file, "utf8")).toMatch(/^# mine\nJWT_SECRET=abc\n/);
    expect(mode(file)).toBe(0o600);
  });
});

describe("development's secrets", () => {
  const settings = {
    environment: "development",
    database: { mode: "bundled" },
    secretsFile: "",
    source: { unreadSecrets: [] as string[] },
  } as Parameters<typeof ensureDevelopmentSecrets>[2];
  const none = { has: () => false };

  it("are made up where nobody gave them", () => {
    const project = temporaryDirectory();
    const file = { has: (key: string) => key === "adminApiKey" };
    expect(ensureDevelopmentSecrets(project, file, settings, { JWT_SECRET: "given" })).toEqual({
      names: ["DATABASE_PASSWORD"],
      file: ".env.development",
    });
    expect(readFileSync(join(project, ".env.development"), "utf8")).toMatch(
      /^# Made by togather up .*\nDATABASE_PASSWORD=[\w-]{43,}\n$/,
    );
    expect(mode(join(project, ".env.development"))).toBe(0o600);
    expect(ensureDevelopmentSecrets(project, file, settings, { JWT_SECRET: "given" })).toBeUndefined();
    const unread = { ...settings, source: { ...settings.source, unreadSecrets: ["ADMIN_API_KEY" as const] } };
    expect(ensureDevelopmentSecrets(temporaryDirectory(), none, unread, {})?.names).toEqual([
      "JWT_SECRET",
      "DATABASE_PASSWORD",
    ]);
  });

  it("are nobody else's: other environments and databases bring their own", () => {
    const project = temporaryDirectory();
    expect(ensureDevelopmentSecrets(project, none, { ...settings, environment: "staging" }, {})).toBeUndefined();
    expect(
      ensureDevelopmentSecrets(
        project,
        none,
        { ...settings, database: { ...settings.database, mode: "external" } },
        {},
      ),
    ).toBeUndefined();
    expect(ensureDevelopmentSecrets(project, { has: () => true }, settings, {})).toBeUndefined();
    expect(readdirSync(project)).toEqual([]);
  });
});

describe("the local certificate", () => {
  it("is for this machine, and kept until it's about to expire", async () => {
    const directory = join(temporaryDirectory(), "tls");
    expect(await ensureCertificate(directory)).toBe(true);
    expect(await ensureCertificate(directory)).toBe(false);
    const certificate = new X509Certificate(readFileSync(join(directory, "certificate.pem")));
    expect(certificate.checkHost("localhost")).toBe("localhost");
    expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1");
    expect(mode(join(directory, "key.pem"))).toBe(0o600);
    expect(await ensureCertificate(directory, Date.parse(certificate.validTo) - 6 * 24 * 60 * 60 * 1000)).toBe(true);
  });
});

describe("free ports", () => {
  it("are the wished ones unless they are taken", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const taken = typeof address === "object" && address ? address.port : 0;
    const found = await freePorts({ first: taken, second: taken });
    server.close();
    expect(found.first).toBeGreaterThan(taken);
    expect(found.second).toBeGreaterThan(found.first);
  });
});

describe("the local stack file", () => {
  const source = (commit: string, version = "v1"): ReleaseSource => ({
    release: { version, commit },
    sameAs: (other) => Promise.resolve(other.commit === commit),
  });
  const [first, second, third] = ["1111111111111111111111111111111111111111", "2".repeat(40), "3".repeat(40)] as const;

  async function start(project: string, from: ReleaseSource, serving: "blue" | "green" | undefined) {
    const local = new LocalStackFile(project);
    await local.fillIn(project, "local");
    local.save();
    const file = StackFile.open(project, "local");
    const slot = await putIntoIdleSlot(file, from, serving);
    file.save();
    const text = readFileSync(join(project, "Pulumi.local.yaml"), "utf8");
    return { slot, text, config: (parse(text) as { config: Record<string, unknown> }).config };
  }

  it("is made with all that a deployment needs", async () => {
    const project = temporaryDirectory();
    const { slot, config, text } = await start(project, source(first), undefined);
    expect(slot).toBe("blue");
    expect(config).toMatchObject({
      "togather:environment": "staging",
      "togather:name": "local",
      "togather:activeSlot": "blue",
      "togather:slots": { blue: { version: "v1", commit: first } },
      "togather:listenAddress": "127.0.0.1",
      "togather:secretsFile": ".env.local",
      "togather:deployment": { database: { backup_location: join(project, ".togather", "backups") } },
    });
    expect(text).toContain(`"${first}"`);
    expect(statSync(join(project, ".togather", "log", "deployments")).isDirectory()).toBe(true);
  });

  it("releases a new commit into the idle slot, and an old one not again", async () => {
    const project = temporaryDirectory();
    await start(project, source(first), undefined);
    expect((await start(project, source(first), "blue")).slot).toBeUndefined();
    const { slot, config } = await start(project, source(second), "blue");
    expect(slot).toBe("green");
    expect(config).toMatchObject({
      "togather:activeSlot": "green",
      "togather:slots": { blue: { commit: first }, green: { commit: second } },
    });
  });

  it("does not undo a rollback", async () => {
    const project = temporaryDirectory();
    await start(project, source(first), undefined);
    const { text } = await start(project, source(second), "blue");
    writeFileSync(join(project, "Pulumi.local.yaml"), text.replace("activeSlot: green", "activeSlot: blue"));
    const { slot, config } = await start(project, source(second), "blue");
    expect(slot).toBeUndefined();
    expect(config["togather:activeSlot"]).toBe("blue");
  });

  it("never touches the slot that serves after a failed release", async () => {
    const project = temporaryDirectory();
    await start(project, source(first), undefined);
    await start(project, source(second), "blue");
    // The gate of green failed: blue goes on serving, although the file says green.
    const { slot, config } = await start(project, source(third), "blue");
    expect(slot).toBe("green");
    expect(config).toMatchObject({ "togather:slots": { blue: { commit: first }, green: { commit: third } } });
  });

  it("keeps comments and what the user set", async () => {
    const project = temporaryDirectory();
    writeFileSync(
      join(project, "Pulumi.local.yaml"),
      "# mine\nencryptionsalt: v1:abc\nconfig:\n  # why\n  togather:environment: development # here\n  togather:ports: { http: 9000, https: 9443 }\n",
    );
    const { text, config } = await start(project, source(first), undefined);
    expect(text).toMatch(
      /^# mine\nencryptionsalt: v1:abc\nconfig:\n {2}# why\n {2}togather:environment: development # here\n/,
    );
    expect(config["togather:ports"]).toEqual({ http: 9000, https: 9443 });
    expect(config["togather:databasePort"]).toBeTypeOf("number");
  });
});
