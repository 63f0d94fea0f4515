import { secretTable } from "../../config/secrets/table.ts";
import { schemaOf, settingsReference, type JsonSchema, type SettingsFile } from "./settings-reference.ts";

const described = (file: SettingsFile, project: string): Map<string, string> =>
  new Map(
    settingsReference(file, project).map(({ key, meaning, default: byDefault }) => [
      key,
      `${meaning} (default: ${byDefault})`,
    ]),
  );

/** `pulumi config set` writes numbers and booleans as text. */
function orText(schema: JsonSchema): JsonSchema {
  if (schema.type === "integer" || schema.type === "number")
    return { anyOf: [schema, { type: "string", pattern: String.raw`^\d+(\.\d+)?$` }] };
  if (schema.type === "boolean") return { anyOf: [schema, { type: "string", enum: ["true", "false"] }] };
  return schema;
}

/** A value that Pulumi has encrypted. */
const encrypted: JsonSchema = {
  type: "object",
  properties: { secure: { type: "string" } },
  required: ["secure"],
  additionalProperties: false,
};

/**
 * JSON Schema (draft 7) of `Pulumi.<stack>.yaml`, for editors. A stack file may also have config of other namespaces,
 * and Pulumi's own entries.
 */
function stackFileSchema(project: string): JsonSchema {
  const { properties = {} } = schemaOf("stack");
  const words = described("stack", project);
  const config = Object.entries(properties).map(([key, schema]): [string, JsonSchema] => {
    const secret = key === "secrets" || key in secretTable;
    const values = secret ? { anyOf: [encrypted, schema] } : orText(schema);
    return [`togather:${key}`, { ...values, description: words.get(key) ?? "" }];
  });
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Pulumi.<stack>.yaml of Togather",
    type: "object",
    properties: {
      config: {
        type: "object",
        properties: Object.fromEntries(config),
        required: ["togather:environment"],
        // A misspelled key of ours is an error; keys of other programs are theirs.
        patternProperties: { "^(?!togather:)": {} },
        additionalProperties: false,
      },
    },
  };
}

/** JSON Schema (draft 7) of `deployment.yml`, for editors. */
function deploymentSchema(project: string): JsonSchema {
  const words = described("deployment", project);
  const schema = schemaOf("deployment");
  const sections = Object.entries(schema.properties ?? {}).map(([section, inner]): [string, JsonSchema] => [
    section,
    {
      ...inner,
      properties: Object.fromEntries(
        Object.entries(inner.properties ?? {}).map(([key, one]) => [
          key,
          { ...one, description: words.get(`${section}.${key}`) ?? "" },
        ]),
      ),
    },
  ]);
  return { ...schema, title: "deployment.yml of Togather", properties: Object.fromEntries(sections) };
}

/** The JSON Schema of one of the two files, with descriptions from docs/settings.md. */
export const editorSchema = (file: SettingsFile, project: string): JsonSchema =>
  file === "stack" ? stackFileSchema(project) : deploymentSchema(project);
