import { describe, expect, it } from "vitest";
import { auditFindings } from "./findings.ts";
import { auditEnvironment, isSecret } from "./audit.ts";

const source = { portVariable: "SERVER_PORT" };
const template = [
  "SERVER_PORT=8080",
  "DATABASE_URL=postgresql://u:CHANGE_ME@db/x",
  "JWT_SECRET=CHANGE_ME",
  "CSRF_KEY=CHANGE_ME",
  "RATE_LIMIT_PUBLIC=30   # a minute",
  "# SENTRY_DSN=x",
].join("\n");
const file = [
  "SERVER_PORT=8080",
  "DATABASE_URL=postgresql://togather:c4n4ry-1@togather-db:5432/togather",
  "POSTGRES_PASSWORD=c4n4ry-2",
  "export JWT_SECRET='c4n4ry-3'",
  "RATE_LIMIT_PUBLIC=60       # a minute",
  "SMTP_PASSWORD=CHANGE_ME",
  "ADMIN_API_KEY=c4n4ry-4",
  "BROKER=amqp://user:c4n4ry-5@mq/",
  "JOKE=ab#c4n4ry-6",
  "ENVIRONMENT=production",
].join("\n");

describe("an environment file", () => {
  const audit = auditEnvironment(file, {
    template,
    read: new Set(["SERVER_PORT", "DATABASE_URL", "JWT_SECRET", "RATE_LIMIT_PUBLIC", "BROKER", "ENVIRONMENT"]),
    source,
  });

  it("is compared with the template and with what the server reads", () => {
    expect(audit).toMatchObject({
      missing: ["CSRF_KEY"],
      extra: ["ADMIN_API_KEY", "BROKER", "ENVIRONMENT", "JOKE", "POSTGRES_PASSWORD", "SMTP_PASSWORD"],
      unread: ["ADMIN_API_KEY", "JOKE", "POSTGRES_PASSWORD", "SMTP_PASSWORD"],
      placeholders: ["SMTP_PASSWORD"],
      cut: ["JOKE"],
    });
  });

  it("is sorted into what is secret, what is plain and what the deployment sets", () => {
    expect(audit.moves).toEqual({
      secrets: ["ADMIN_API_KEY", "BROKER", "JWT_SECRET", "SMTP_PASSWORD"],
      settings: ["JOKE", "RATE_LIMIT_PUBLIC"],
      deployment: ["DATABASE_URL", "ENVIRONMENT", "SERVER_PORT"],
      database: ["POSTGRES_PASSWORD"],
    });
  });

  it("shows no value", () => {
    expect(JSON.stringify([audit, auditFindings(audit, "file", "template")])).not.toContain("c4n4ry");
  });

  it("is told apart from nothing to compare with", () => {
    const alone = auditEnvironment(file, { template: undefined, read: undefined, source });
    expect(alone).toMatchObject({ missing: [], extra: [], unread: undefined });
    expect(
      auditFindings(alone, "file", undefined)
        .filter(({ status }) => status === "ok")
        .map(({ check }) => check),
    ).not.toContain("read by nothing");
    expect(auditFindings(alone, "file", undefined).map(({ check }) => check)).not.toContain("missing");
  });
});

describe("secrets", () => {
  it.each([
    "CSRF_KEY",
    "RESEND_API_KEY",
    "SMTP_PASSWORD",
    "SENTRY_DSN",
    "ALERT_WEBHOOK_AUTH",
    "GITHUB_TOKEN",
    "OTLP_HEADERS",
    "OIDC_CLIENT_SECRET",
  ])("are told by name: %s", (name) => {
    expect(isSecret(name, "x")).toBe(true);
  });
  it.each([
    ["JWT_EXPIRY_HOURS", "24"],
    ["ARTSDATA_API_URL", "https://api.artsdata.ca"],
    ["KEYBOARD", "x"],
    ["EMAIL_FROM", "a@example.net"],
  ])("are not %s", (name, value) => {
    expect(isSecret(name, value)).toBe(false);
  });
});
