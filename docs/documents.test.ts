import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { deploymentFileSchema } from "../config/schema/deployment-file.ts";
import { deploymentValues } from "../config/deployment-values.ts";
import { environmentNames, environmentRules } from "../config/schema/environments.ts";
import { loadSettings } from "../config/settings.ts";
import { fillInAll } from "../config/placeholders.ts";
import { stackSettingsSchema } from "../config/schema/stack-settings.ts";
import { secretKeys } from "../config/secrets/table.ts";
import { rules as lintRules } from "../ops/lint/rules.ts";
import { certificatePair } from "../test/certificate-pair.ts";

const project = join(import.meta.dirname, "..");
const read = (file: string): string => readFileSync(join(project, file), "utf8");

/** The rows of the first table below a heading, as trimmed cells. @throws when there is none. */
function table(markdown: string, heading: string): string[][] {
  const lines = markdown.split("\n");
  const from = lines.findIndex((line) => line.startsWith(`## ${heading}`));
  const start = lines.findIndex((line, index) => index > from && line.startsWith("|"));
  if (from === -1 || start === -1) throw new Error(`no table below "## ${heading}"`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  return lines.slice(start + 2, end === -1 ? undefined : end).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

interface Declared {
  type?: string;
  description: string;
  default?: unknown;
  secret?: boolean;
}

describe("Pulumi.yaml", () => {
  const declared = (parse(read("Pulumi.yaml")) as { config: Record<string, Declared> }).config;
  const shape = stackSettingsSchema.shape;

  it("declares only keys that the schema knows, each with a description", () => {
    for (const [key, { description }] of Object.entries(declared)) {
      expect(Object.keys(shape)).toContain(key);
      expect(description, key).toMatch(/^[A-Z].*\.$/);
    }
  });

  it("declares every key that is one value, with the schema's default", () => {
    for (const [key, schema] of Object.entries(shape)) {
      const parsed = schema.safeParse(undefined);
      const structured = parsed.success && (typeof parsed.data === "object" || parsed.data === undefined);
      if (structured) continue;
      expect(declared, key).toHaveProperty(key);
      const expected: unknown = parsed.success ? parsed.data : undefined;
      expect(declared[key]?.default, key).toEqual(expected);
    }
  });

  it("marks secrets as secret, and nothing else", () => {
    expect(
      Object.entries(declared)
        .filter(([, { secret }]) => secret === true)
        .map(([key]) => key)
        .sort(),
    ).toEqual([...secretKeys].sort());
  });
});

describe("examples", () => {
  const stackFiles = [
    "README.md",
    "docs/operations.md",
    "docs/settings.md",
    "docs/snapshots.md",
    "docs/migrations.md",
  ].flatMap((file) =>
    [...read(file).matchAll(/^( *)```yaml\n([\s\S]*?)```/gm)].map(([, , text]) => ({ file, text: text ?? "" })),
  );

  it.each(stackFiles)("of stack files in $file are valid settings", ({ text }) => {
    const parsed = parse(text) as Record<string, unknown>;
    const config = (parsed["config"] ?? parsed) as Record<string, unknown>;
    const settings = Object.fromEntries(
      Object.entries(config).map(([key, value]) => [key.replace(/^togather:/, ""), value]),
    );
    const checked = stackSettingsSchema.safeParse({ environment: "production", ...settings });
    expect(checked.error?.issues ?? []).toEqual([]);
    expect(Object.keys(settings).length).toBeGreaterThan(0);
  });
});

describe("the sample of the foundation's server", () => {
  const section =
    read("docs/settings.md").split("### The server of the Togather foundation")[1]?.split("\n## ")[0] ?? "";
  const block = (language: string): string =>
    new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(section)?.[1] ?? "";

  it("is all that a deployment of production takes, with the secrets that its commands make", async () => {
    const directory = mkdtempSync(join(tmpdir(), "togather-sample-"));
    try {
      const made = await execa("bash", ["-c", block("bash")], { cwd: directory });
      expect(made.stderr).toBe("");
      const { config } = parse(block("yaml")) as { config: Record<string, unknown> };
      const pair = await certificatePair();
      const tls = config["togather:tls"] as Record<"certificateFile" | "keyFile", string>;
      const here = { certificateFile: join(directory, "fullchain.pem"), keyFile: join(directory, "privkey.pem") };
      expect(Object.keys(tls)).toEqual(Object.keys(here));
      writeFileSync(here.certificateFile, pair.certificate);
      writeFileSync(here.keyFile, pair.key, { mode: 0o600 });
      const release = { version: "v1.2.3", commit: "1".repeat(40) };
      const told = { ...config, "togather:tls": here, "togather:slots": { blue: release } };
      const texts = Object.fromEntries(
        Object.entries(told).map(([key, value]) => [
          key.replace("togather:", ""),
          typeof value === "string" ? value : JSON.stringify(value),
        ]),
      );
      const settings = loadSettings({ config: texts, environment: {}, projectDirectory: directory });
      expect(settings.warnings).toEqual([]);
      const known = deploymentValues(settings);
      const environment = fillInAll(settings.source.environment, { ...known, ...release, slot: "blue" });
      expect(environment).toMatchObject({
        PUBLIC_URL: "events.example.org",
        SERVER_BASE_URL: "https://events.example.org",
        CORS_ALLOWED_ORIGINS: "https://events.example.org",
        TRUSTED_PROXY_CIDRS: `${settings.addresses.router}/32`,
      });
      expect(fillInAll(settings.source.buildArguments, known, ["commit", "created"])).toMatchObject({
        DOMAIN: "events.example.org",
      });
      const { jwtSecret, adminApiKey, server } = settings.secrets;
      expect([jwtSecret?.reveal().length, adminApiKey, Object.keys(server)]).toEqual([
        64,
        undefined,
        ["CSRF_KEY", "ADMIN_PASSWORD"],
      ]);
      // Two slots and a release that is rehearsed, and others beside them.
      expect(settings.database).toMatchObject({
        mode: "bundled",
        maxConnections: 3 * Number(environment["DATABASE_MAX_CONNECTIONS"]) + 50,
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("docs/migrations.md", () => {
  it("has the table of the lint's rules that the code has", () => {
    expect(table(read("docs/migrations.md"), "Rules")).toEqual(
      Object.entries(lintRules).map(([name, rule]) => [
        `\`${name}\``,
        "lock" in rule ? `${rule.level}, by lock` : rule.level,
        rule.why,
        rule.safe,
      ]),
    );
  });
});

describe("docs/settings.md", () => {
  const settings = read("docs/settings.md");

  it("lists every setting of a stack, and no other", () => {
    const keys = table(settings, "A stack's own").map(([key]) => key?.replaceAll("`", ""));
    expect(keys).toEqual(Object.keys(stackSettingsSchema.shape));
  });

  it("lists every key of the source with its default", () => {
    const defaults = Object.entries(stackSettingsSchema.parse({ environment: "staging" }).source);
    const shown = (value: unknown): string =>
      Array.isArray(value) && value.length > 0
        ? `[${value.join(", ")}]`
        : typeof value === "object"
          ? "none"
          : JSON.stringify(value).replaceAll('"', "");
    expect(
      table(settings, "Another server").map(([key, value]) => [key, value].map((cell) => cell?.replaceAll("`", ""))),
    ).toEqual(defaults.map(([key, value]) => [key, shown(value)]));
  });

  it("lists every key of deployment.yml with its default", () => {
    const defaults = deploymentFileSchema.parse({});
    const plain = (cell?: string): string => (cell ?? "").replaceAll("`", "");
    const listed = Object.fromEntries(
      table(settings, "How deployments behave").map(([key, value]) => [plain(key), plain(value)]),
    );
    const flat = Object.fromEntries(
      Object.entries(defaults).flatMap(([group, values]) =>
        Object.entries(values).map(([key, value]) => [
          `${group}.${key}`,
          Array.isArray(value) ? JSON.stringify(value) : String(value),
        ]),
      ),
    );
    expect(listed).toEqual(flat);
  });

  it("has the table of the environments that the code has", () => {
    const rows = table(settings, "Environments").map(([rule, ...values]): unknown[] => [
      /`(\w+)`/.exec(rule ?? "")?.[1],
      ...values,
    ]);
    const shown = (value: unknown): string => (value === true ? "yes" : value === false ? "no" : String(value));
    const rules = Object.keys(environmentRules.production) as (keyof typeof environmentRules.production)[];
    expect(rows).toEqual(
      rules.map((rule) => [rule, ...environmentNames.map((environment) => shown(environmentRules[environment][rule]))]),
    );
  });
});
