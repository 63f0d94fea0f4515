import { describe, expect, it } from "vitest";
import { lastWords, serverError } from "./programs.ts";

describe("lastWords", () => {
  const many = Array.from({ length: 9 }, (_, index) => `CONTEXT:  line ${index}`);
  it.each([
    {
      what: "psql's error with what is behind it",
      stderr: ["psql:<stdin>:7: ERROR:  42501: must be owner", "DETAIL:  it is not", "LOCATION:  f, x.c:1", ...many],
      first: "psql:<stdin>:7: ERROR:  42501: must be owner",
      lines: 8,
    },
    {
      what: "no notice and no warning before it, in whatever language",
      stderr: [
        'psql:<stdin>:2: NOTICE:  42710: extension "hstore" already exists, skipping',
        "LOCATION:  CreateExtension, extension.c:1",
        "WARNUNG:  01000: Datenbank hat eine andere Sortierung",
        "psql:<stdin>:9: FEHLER:  42883: Funktion existiert nicht",
        "HINT:  Keine Funktion",
      ],
      first: "psql:<stdin>:9: FEHLER:  42883: Funktion existiert nicht",
      lines: 2,
    },
    {
      what: "pg_restore's, which has no SQLSTATE",
      stderr: [
        "pg_restore: while PROCESSING TOC:",
        "pg_restore: from TOC entry 5; 1259 16385 TABLE x",
        "pg_restore: error: could not execute query: ERROR:  permission denied for schema x",
        "LINE 1: CREATE TABLE x",
        "Command was: CREATE TABLE x ();",
      ],
      first: "pg_restore: error: could not execute query: ERROR:  permission denied for schema x",
      lines: 3,
    },
    { what: "the end of anything else", stderr: ["a", "b", "c", "d", "e", "f"], first: "b", lines: 5 },
  ])("has $what", ({ stderr, first, lines }) => {
    const words = lastWords(`${stderr.join("\n")}\n`).split("\n");
    expect(words[0]).toBe(first);
    expect(words).toHaveLength(lines);
  });
});

describe("serverError", () => {
  it.each([
    [
      "restoring failed (exit code 3): psql:<stdin>:7: ERROR:  42501: must be owner of x",
      "42501",
      "must be owner of x",
    ],
    ["x\npg_restore: error: could not execute query: ERROR:  permission denied: x", undefined, "permission denied: x"],
    ["FEHLER:  42501: keine Berechtigung für Schema public", "42501", "keine Berechtigung für Schema public"],
  ])("finds it in %s", (message, sqlState, said) => {
    expect(serverError(message)).toEqual({ sqlState, said });
  });
  it.each(["pg_dump failed (exit code 1): no such file", "NOTICE:  42710: exists", "WARNING:  01000: x"])(
    "finds none in %s",
    (message) => {
      expect(serverError(message)).toBeUndefined();
    },
  );
});
