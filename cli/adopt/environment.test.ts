import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "dotenv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fillIn, literally } from "../../config/placeholders.ts";
import { StackFile } from "../stack-file.ts";
import { planEnvironment, removeEnvironment, writeEnvironment } from "./environment.ts";

let project: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "togather-adopt-"));
});
afterEach(() => {
  rmSync(project, { recursive: true });
});

const written =
  "# ours\nconfig:\n  togather:environment: production # kept\n  togather:source:\n    portVariable: SERVER_PORT\n    environment: { LOG_LEVEL: debug }\n    secrets: [SMTP_PASSWORD]\n";
const open = (): StackFile => {
  writeFileSync(join(project, "Pulumi.production.yaml"), written);
  return StackFile.open(project, "production");
};
const values = {
  DATABASE_MAX_CONNECTIONS: "50",
  SERVER_PORT: "8080",
  DATABASE_URL: "postgresql://togather:c4n4ry@togather-db/togather",
  POSTGRES_PASSWORD: "c4n4ry",
  JWT_SECRET: 'c4n4ry one\'s "secret" #1',
  SMTP_PASSWORD: "c4n4ry2",
  CSRF_KEY: "CHANGE_ME",
  RESEND_API_KEY: "c4n4ry3",
  RATE_LIMIT_PUBLIC: "60",
  LOG_LEVEL: "warn",
  EMAIL_FROM: "",
  METRICS_PORT: "9090",
  TRUSTED_PROXY_CIDRS: "10.0.0.0/8",
  ENVIRONMENT: "production",
};
const read = new Set(Object.keys(values).filter((name) => name !== "METRICS_PORT"));

describe("the old node's environment", () => {
  it("is sorted into what is taken over, and what is not, with the reason", () => {
    const { settings } = { settings: open().settings() };
    const plan = planEnvironment(values, { read, settings });
    expect(plan).toEqual({
      settings: {
        DATABASE_MAX_CONNECTIONS: "50",
        LOG_LEVEL: "warn",
        RATE_LIMIT_PUBLIC: "60",
        TRUSTED_PROXY_CIDRS: "{routerAddress}/32",
      },
      secrets: { JWT_SECRET: values.JWT_SECRET, RESEND_API_KEY: "c4n4ry3", SMTP_PASSWORD: "c4n4ry2" },
      unread: ["ADMIN_API_KEY"],
      maxConnections: 170,
      left: {
        "set by the deployment": ["DATABASE_URL", "ENVIRONMENT", "SERVER_PORT"],
        "of the old database": ["POSTGRES_PASSWORD"],
        "read by nothing": ["METRICS_PORT"],
        empty: ["EMAIL_FROM"],
        placeholders: ["CSRF_KEY"],
      },
    });
    // Without the server's source, all may be needed.
    expect(planEnvironment(values, { read: undefined, settings }).settings).toHaveProperty("METRICS_PORT");
    expect(planEnvironment({ A: "{x} and \\{slot}" }, { read: new Set(["A"]), settings }).settings).toEqual({
      A: "\\{x} and \\\\{slot}",
    });
    expect(fillIn(literally("{x} and \\{slot}"), {})).toBe("{x} and \\{slot}");
  });

  it("is written once, beside what is there, secrets where only their owner can read them, and taken out again", () => {
    const file = open();
    const settings = file.settings();
    const secrets = join(project, ".env.production");
    writeFileSync(secrets, "# mine\nSMTP_PASSWORD=other", { mode: 0o644 });
    const plan = planEnvironment(values, { read, settings });
    const { written: done, kept } = writeEnvironment(project, plan, { file, settings });
    file.save();
    expect(kept).toEqual(["LOG_LEVEL", "SMTP_PASSWORD"]);
    expect(done).toEqual({
      settings: ["DATABASE_MAX_CONNECTIONS", "RATE_LIMIT_PUBLIC", "TRUSTED_PROXY_CIDRS"],
      listed: ["RESEND_API_KEY"],
      unread: ["ADMIN_API_KEY"],
      maxConnections: true,
      secrets: ["JWT_SECRET", "RESEND_API_KEY"],
      made: ["DATABASE_PASSWORD"],
    });
    expect(statSync(secrets).mode & 0o777).toBe(0o600);
    const text = readFileSync(secrets, "utf8");
    expect(text).toContain("# mine\n");
    expect(parse(text)).toMatchObject({
      JWT_SECRET: values.JWT_SECRET,
      RESEND_API_KEY: "c4n4ry3",
      SMTP_PASSWORD: "other",
    });
    const stack = readFileSync(join(project, "Pulumi.production.yaml"), "utf8");
    expect(stack).not.toContain("c4n4ry");
    expect(stack).toContain("# kept");
    const { source } = StackFile.open(project, "production").settings();
    expect(source.environment).toMatchObject({ LOG_LEVEL: "debug", RATE_LIMIT_PUBLIC: "60" });
    expect(source.secrets).toEqual(["SMTP_PASSWORD", "RESEND_API_KEY"]);
    expect(source.unreadSecrets).toEqual(["ADMIN_API_KEY"]);

    const again = StackFile.open(project, "production");
    expect(writeEnvironment(project, plan, { file: again, settings: again.settings() }).written).toEqual({
      settings: [],
      listed: [],
      unread: [],
      maxConnections: false,
      secrets: [],
      made: [],
    });
    expect(readFileSync(secrets, "utf8")).toBe(text);

    removeEnvironment(project, done, { file: again, settings: again.settings() });
    again.save();
    expect(readFileSync(secrets, "utf8")).toBe("# mine\nSMTP_PASSWORD=other\n");
    expect(StackFile.open(project, "production").settings()).toEqual(settings);
  });

  it("takes a key out together with what is empty then", () => {
    const file = open();
    const before = file.text;
    file.setValue("1", "tls", "certificateFile");
    file.setValue(undefined, "tls", "certificateFile");
    expect(file.value("tls")).toBeUndefined();
    expect(file.text).toBe(before);
  });
});
