import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { deploymentFileSchema } from "../../config/deployment-file.ts";
import { environmentNames, environmentRules } from "../../config/environments.ts";
import { secretKeys, stackSettingsSchema } from "../../config/stack-settings.ts";
import { rules as lintRules } from "../../ops/lint/rules.ts";

const project = join(import.meta.dirname, "../..");
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
    expect(Object.entries(declared).filter(([, { secret }]) => secret === true).map(([key]) => key).sort()).toEqual([...secretKeys].sort());
  });
});

describe("examples", () => {
  const stackFiles = ["README.md", "docs/operations.md", "docs/settings.md"].flatMap((file) =>
    [...read(file).matchAll(/^( *)```yaml\n([\s\S]*?)```/gm)].map(([, , text]) => ({ file, text: text ?? "" })),
  );

  it.each(stackFiles)("of stack files in $file are valid settings", ({ text }) => {
    const parsed = parse(text) as Record<string, unknown>;
    const config = (parsed["config"] ?? parsed) as Record<string, unknown>;
    const settings = Object.fromEntries(Object.entries(config).map(([key, value]) => [key.replace(/^togather:/, ""), value]));
    const checked = stackSettingsSchema.safeParse({ environment: "production", ...settings });
    expect(checked.error?.issues ?? []).toEqual([]);
    expect(Object.keys(settings).length).toBeGreaterThan(0);
  });
});

describe("docs/migrations.md", () => {
  it("has the table of the lint's rules that the code has", () => {
    expect(table(read("docs/migrations.md"), "Rules")).toEqual(Object.entries(lintRules).map(([name, { level, why, safe }]) => [`\`${name}\``, level, why, safe]));
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
    const shown = (value: unknown): string => (Array.isArray(value) && value.length > 0 ? `[${value.join(", ")}]` : typeof value === "object" ? "none" : JSON.stringify(value).replaceAll('"', ""));
    expect(table(settings, "Another server").map(([key, value]) => [key, value].map((cell) => cell?.replaceAll("`", "")))).toEqual(defaults.map(([key, value]) => [key, shown(value)]));
  });

  it("lists every key of deployment.yml with its default", () => {
    const defaults = deploymentFileSchema.parse({});
    const plain = (cell?: string): string => (cell ?? "").replaceAll("`", "");
    const listed = Object.fromEntries(table(settings, "How deployments behave").map(([key, value]) => [plain(key), plain(value)]));
    const flat = Object.fromEntries(
      Object.entries(defaults).flatMap(([group, values]) => Object.entries(values).map(([key, value]) => [`${group}.${key}`, Array.isArray(value) ? JSON.stringify(value) : String(value)])),
    );
    expect(listed).toEqual(flat);
  });

  it("has the table of the environments that the code has", () => {
    const rows = table(settings, "Environments").map(([rule, ...values]): unknown[] => [/`(\w+)`/.exec(rule ?? "")?.[1], ...values]);
    const shown = (value: unknown): string => (value === true ? "yes" : value === false ? "no" : String(value));
    const rules = Object.keys(environmentRules.production) as (keyof typeof environmentRules.production)[];
    expect(rows).toEqual(rules.map((rule) => [rule, ...environmentNames.map((environment) => shown(environmentRules[environment][rule]))]));
  });
});
