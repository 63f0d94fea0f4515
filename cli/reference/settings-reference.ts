import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { nearest } from "../../config/nearest.ts";
import { deploymentFileSchema } from "../../config/schema/deployment-file.ts";
import { stackSettingsSchema } from "../../config/schema/stack-settings.ts";
import { secretTable } from "../../config/secrets/table.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";

/** A node of a JSON Schema (draft 7), with the fields that are read here. */
export interface JsonSchema {
  type?: string;
  description?: string;
  default?: unknown;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  additionalProperties?: boolean | JsonSchema;
  [keyword: string]: unknown;
}

/** The two files that have settings. */
export type SettingsFile = "stack" | "deployment";

/** One setting, described in the words of docs/settings.md. */
export interface Setting {
  /** The key as in the documents: `router.maxBodySize`, `deployment.grace_period`. */
  key: string;
  file: SettingsFile;
  /** In words, or as YAML. */
  default: string;
  meaning: string;
  /** Further pages, relative to the project's directory. */
  more: string[];
  schema: JsonSchema;
}

/** The tables of docs/settings.md: the header of the first column, and the section of its keys. */
const tables: readonly { file: SettingsFile; heading: string; column: string; within: string }[] = [
  { file: "stack", heading: "A stack's own: `Pulumi.<stack>.yaml`", column: "key", within: "" },
  { file: "stack", heading: "Another server", column: "key of `source`", within: "source." },
  { file: "stack", heading: "Another server", column: "key of a task", within: "source.tasks." },
  { file: "deployment", heading: "How deployments behave: `deployment.yml`", column: "key", within: "" },
];

/** The JSON Schema of each file. It has no descriptions: see `settingsReference`. */
export function schemaOf(file: SettingsFile): JsonSchema {
  const schema = file === "stack" ? stackSettingsSchema : deploymentFileSchema;
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any", target: "draft-7" }) as JsonSchema;
}

/** The nodes whose keys a person sees as those of one setting: the node, its alternatives, the entries of a list. */
const alternatives = (schema: JsonSchema): JsonSchema[] => [
  schema,
  ...(schema.anyOf ?? []),
  ...(schema.items === undefined ? [] : [schema.items]),
];

/** The schema's node at a path of keys. Undefined: no such key. */
function nodeAt(schema: JsonSchema, path: readonly string[]): JsonSchema | undefined {
  const [key, ...rest] = path;
  if (key === undefined) return schema;
  const next = alternatives(schema)
    .map((one) => one.properties?.[key])
    .find((one) => one !== undefined);
  return next === undefined ? undefined : nodeAt(next, rest);
}

/** A cell of a table of docs/settings.md as plain text, with the pages that it links to. */
function plain(cell: string): { text: string; more: string[] } {
  const more = [...cell.matchAll(/\]\(([^)]+)\)/g)].map(([, target = ""]) =>
    target.startsWith("#") ? `docs/settings.md${target}` : `docs/${target}`,
  );
  return { text: cell.replaceAll(/\[([^\]]*)\]\([^)]+\)/g, "$1").replaceAll("`", ""), more };
}

/** The rows of a table of a Markdown page, as cells. @throws when the page has no such table. */
function rowsOf(page: string, heading: string, column: string): string[][] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const table = section.split(`\n| ${column} |`)[1]?.split("\n\n")[0];
  if (table === undefined) throw new Error(`docs/settings.md has no table of "${column}" below "${heading}"`);
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  return rows.map((row) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll(String.raw`\|`, "|")),
  );
}

/**
 * The settings of a file, read from docs/settings.md, the only place with their descriptions. A test compares its keys
 * and defaults with the schemas.
 */
export function settingsReference(file: SettingsFile, project: string): Setting[] {
  const page = readFileSync(join(project, "docs/settings.md"), "utf8");
  const schema = schemaOf(file);
  const own = tables.filter((table) => table.file === file);
  return own.flatMap(({ heading, column, within }) =>
    rowsOf(page, heading, column).flatMap(([keys = "", byDefault = "", meaning = ""]) => {
      const [defaultText, words] = [plain(byDefault), plain(meaning)];
      // One row may be about two keys.
      return plain(keys)
        .text.split(", ")
        .map((name) => ({
          key: `${within}${name}`,
          file,
          default: defaultText.text,
          meaning: words.text,
          more: [...new Set([...defaultText.more, ...words.more])],
          schema: nodeAt(schema, `${within}${name}`.split(".")) ?? {},
        }));
    }),
  );
}

/** The settings of both files. */
export const allSettings = (project: string): Setting[] =>
  (["stack", "deployment"] as const).flatMap((file) => settingsReference(file, project));

/** A value as YAML on one line, as in the documents. */
export const yamlText = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(yamlText).join(", ")}]`
    : typeof value === "object" && value !== null
      ? `{ ${Object.entries(value)
          .map(([key, one]) => `${key}: ${yamlText(one)}`)
          .join(", ")} }`
      : value === ""
        ? "empty"
        : String(value);

/** The key of a setting that a person has named: without its namespace, or from the variable of a secret. */
function keyOf(named: string): string {
  const bare = named.replace(/^togather:/, "").replace(/^deployment\.yml:\s*/, "");
  const secret = Object.entries(secretTable).find(([, { variable }]) => variable === bare);
  return secret?.[0] ?? bare;
}

/**
 * The setting of a name; also of one inside another: `router.maxBodySize` has the description of `router`, and its own
 * schema.
 * @throws {Failure} for a name that neither file has, with the name that was probably meant.
 */
export function findSetting(named: string, project: string): Setting {
  const all = allSettings(project);
  const key = keyOf(named);
  const exact = all.find((setting) => setting.key === key);
  if (exact !== undefined) return exact;
  const path = key.split(".");
  for (let length = path.length - 1; length > 0; length--) {
    const outer = all.find((setting) => setting.key === path.slice(0, length).join("."));
    const schema = outer && nodeAt(outer.schema, path.slice(length));
    if (outer === undefined || schema === undefined) continue;
    const byDefault = schema.default === undefined ? "none" : yamlText(schema.default);
    return { ...outer, key, default: byDefault, meaning: clauseOf(outer, path.at(-1) ?? ""), schema };
  }
  const known = all.flatMap((setting) => [setting.key, ...innerKeys(setting.schema, setting.key)]);
  const near = nearest(key, known);
  throw new Failure(
    "config",
    `no setting is called ${named}`,
    near === undefined ? `${invocation("explain")} lists them` : invocation(`explain ${near}`),
  );
}

/**
 * The part of a setting's description about one key inside of it: from its name to the name of the next one; the whole
 * description where it doesn't name the key.
 */
function clauseOf({ key, meaning, schema }: Setting, inner: string): string {
  const others = innerKeys(schema, "").map((path) => `${path.split(".").at(-1)}: `);
  const from = meaning.indexOf(`${inner}: `);
  if (from === -1) return `part of ${key}: ${meaning}`;
  const begin = from + inner.length + 2;
  const ends = others.map((name) => meaning.indexOf(name, begin)).filter((index) => index !== -1);
  return meaning.slice(begin, Math.min(meaning.length, ...ends)).replace(/[;.,\s]+$/, "");
}

/** The paths of all keys below a node. */
function innerKeys(schema: JsonSchema, prefix: string): string[] {
  const nodes = alternatives(schema).flatMap(({ properties }) => Object.entries(properties ?? {}));
  return nodes.flatMap(([key, inner]) => [`${prefix}.${key}`, ...innerKeys(inner, `${prefix}.${key}`)]);
}

/** The values that a schema allows, in words. */
export function expectedText(schema: JsonSchema): string {
  const { type, anyOf, items, properties, additionalProperties } = schema;
  if (anyOf !== undefined) return anyOf.map(expectedText).join(", or ");
  if (schema.const !== undefined) return yamlText(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(yamlText).join(", ");
  if (type === "null") return "null";
  if (type === "array") return `a list, each: ${items === undefined ? "anything" : expectedText(items)}`;
  if (properties !== undefined) return `{ ${Object.keys(properties).join(", ")} }`;
  if (type === "object")
    return typeof additionalProperties === "object"
      ? `names, each with: ${expectedText(additionalProperties)}`
      : "an object";
  const { minimum, maximum, pattern, format } = schema;
  if (type === "integer" || type === "number") {
    const what = type === "integer" ? "a whole number" : "a number";
    return minimum === undefined || maximum === undefined ? what : `${what} from ${minimum} to ${maximum}`;
  }
  if (type === "boolean") return "true, false";
  if (format === "uri") return "a URL";
  return pattern === undefined ? "text" : `text like ${pattern}`;
}
