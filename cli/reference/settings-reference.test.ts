import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";
import { editorSchema } from "./editor-schema.ts";
import { expectedText, findSetting, schemaOf, settingsReference } from "./settings-reference.ts";

const project = join(import.meta.dirname, "../..");

describe("the words about settings", () => {
  it("are there for each key of both files, and for no other", () => {
    const stack = settingsReference("stack", project).map(({ key }) => key);
    expect(stack.filter((key) => !key.includes(".")).sort()).toEqual(
      Object.keys(schemaOf("stack").properties ?? {}).sort(),
    );
    const sections = Object.entries(schemaOf("deployment").properties ?? {});
    expect(
      settingsReference("deployment", project)
        .map(({ key }) => key)
        .sort(),
    ).toEqual(
      sections
        .flatMap(([section, { properties = {} }]) => Object.keys(properties).map((key) => `${section}.${key}`))
        .sort(),
    );
    const { properties } = schemaOf("stack").properties?.["source"] ?? {};
    const ofSource = stack.filter((key) => /^source\.[^.]+$/.test(key)).map((key) => key.slice("source.".length));
    expect(ofSource.sort()).toEqual(Object.keys(properties ?? {}).sort());
    // Every setting still has its schema.
    for (const { key, schema } of [...settingsReference("stack", project), ...settingsReference("deployment", project)])
      expect(Object.keys(schema), key).not.toEqual([]);
  });

  it("have no marks of Markdown left, and name the pages that they lead to", () => {
    const { meaning, more } = findSetting("standby", project);
    expect(meaning).toBe("what becomes of the slot that has served: running, stopped or removed");
    expect(more).toEqual(["docs/operations.md#the-slot-that-has-served"]);
  });

  it.each([
    ["togather:activeSlot", "activeSlot", "blue", "blue, green"],
    ["deployment.grace_period", "deployment.grace_period", "10", "a number from 0 to 600"],
    ["deployment.yml: database.snapshot_format", "database.snapshot_format", "sql.gz", "sql.gz, sql.zst, directory"],
    ["database.mode", "database.mode", "bundled", "bundled, external"],
    ["JWT_SECRET", "jwtSecret", "(required)", "text"],
    ["slots.green.commit", "slots.green.commit", "none", "text like ^([0-9a-f]{7,40}|tree-[0-9a-f]{12,64})$"],
    ["source.tasks.when", "source.tasks.when", "required", "before-switch, after-switch"],
    ["skipMigrations", "skipMigrations", "false", "true, false"],
  ])("are found for %s", (named, key, byDefault, expected) => {
    const setting = findSetting(named, project);
    expect(setting).toMatchObject({ key, default: byDefault });
    expect(expectedText(setting.schema)).toBe(expected);
  });

  it("are of one key inside of another where they name it", () => {
    expect(findSetting("router.maxBodySize", project)).toMatchObject({
      default: "32m",
      meaning: "the largest body of a request, such as 1g; beyond it is 413",
    });
    expect(findSetting("database.network", project).meaning).toMatch(/^part of database: /);
  });

  it.each([
    ["actveSlot", "explain activeSlot"],
    ["router.maxBodysize", "explain router.maxBodySize"],
    ["deployment.grace_perod", "explain deployment.grace_period"],
    ["router.maxBodySize.unit", "explain router.maxBodySize"],
    ["nonsense", "explain lists them"],
    ["__proto__", "explain lists them"],
  ])("are not made up for %s", (named, fix) => {
    expect(() => findSetting(named, project)).toThrow(`no setting is called ${named}`);
    try {
      findSetting(named, project);
    } catch (error) {
      expect(error).toMatchObject({ ending: "config", fix: expect.stringContaining(fix) as string });
    }
  });
});

describe("the schemas for editors", () => {
  const check = (file: "stack" | "deployment", value: unknown): boolean =>
    z.fromJSONSchema(editorSchema(file, project) as Parameters<typeof z.fromJSONSchema>[0]).safeParse(value).success;

  it("take the files that are here", () => {
    expect(check("deployment", parse(readFileSync(join(project, "deployment.yml"), "utf8")))).toBe(true);
    const files = readdirSync(project).filter((name) => /^Pulumi\.(production|staging)\.yaml$/.test(name));
    expect(files).toHaveLength(2);
    for (const name of files) expect(check("stack", parse(readFileSync(join(project, name), "utf8"))), name).toBe(true);
  });

  it("take what Pulumi writes: numbers as text, encrypted secrets, its own salt, config of others", () => {
    const config = {
      "togather:environment": "production",
      "togather:databasePort": "15433",
      "togather:force": "true",
      "togather:jwtSecret": { secure: "v1:abc" },
      "togather:secrets": { SMTP_PASSWORD: "x" },
      "aws:region": "eu-central-1",
    };
    expect(check("stack", { encryptionsalt: "v1:x", config })).toBe(true);
  });

  it("refuse what is misspelled, of another kind, or missing", () => {
    const config = { "togather:environment": "production" };
    expect(check("stack", { config: { ...config, "togather:activeSlt": "blue" } })).toBe(false);
    expect(check("stack", { config: { ...config, "togather:activeSlot": "red" } })).toBe(false);
    expect(check("stack", { config: { ...config, "togather:databasePort": "many" } })).toBe(false);
    expect(check("stack", { config: {} })).toBe(false);
    expect(check("deployment", { deployment: { grace_perod: 3 } })).toBe(false);
    expect(check("deployment", { deployment: { grace_period: "long" } })).toBe(false);
  });

  it("say what each key means", () => {
    expect(JSON.stringify(editorSchema("stack", project))).toContain("the slot that serves (default: blue)");
    expect(JSON.stringify(editorSchema("deployment", project))).toContain(
      "attempts of the gate after the grace period (default: 30)",
    );
  });
});
