import { describe, expect, it } from "vitest";
import { settingClause } from "./database-attributes.ts";

describe("settingClause", () => {
  it.each([
    ["timezone=Europe/Vienna", `SET "timezone" TO 'Europe/Vienna'`],
    ["app.greeting=it's", `SET "app"."greeting" TO 'it''s'`],
    ["datestyle=German, DMY", `SET "datestyle" TO 'German, DMY'`],
    ['search_path="$user", app, public', `SET "search_path" TO '$user', 'app', 'public'`],
    ['search_path="a ""b"", c"', `SET "search_path" TO 'a "b", c'`],
    // Set to '', as careful people do: one name without a character.
    ['search_path=""', `SET "search_path" TO ''`],
    ["temp_tablespaces=", `SET "temp_tablespaces" TO ''`],
    ["application_name=", `SET "application_name" TO ''`],
  ])("writes %s as a statement has it", (entry, clause) => {
    expect(settingClause(entry)).toBe(clause);
  });
});
