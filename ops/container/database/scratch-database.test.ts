import { describe, expect, it } from "vitest";
import { NotAllowed, deniedBy } from "./scratch-database.ts";

describe("what a server does not let a role do", () => {
  it.each([
    [
      'restoring failed (exit code 3): psql:<stdin>:31: ERROR:  42501: permission denied to create extension "postgis"\nHINT:  Must be superuser',
      "may not create the extension postgis",
      "trusted",
    ],
    [
      'restoring failed (exit code 3): psql:<stdin>:31: ERROR:  42501: must be able to SET ROLE "third"',
      'must be able to SET ROLE "third"',
      'GRANT "third" TO "admin"',
    ],
    [
      'restoring failed (exit code 3): psql:<stdin>:31: ERROR:  42501: must be member of role "odd role"',
      "must be member of role",
      'GRANT "odd role" TO "admin"',
    ],
    // pg_restore has no SQLSTATE.
    [
      'restoring failed (exit code 1): pg_restore: error: could not execute query: ERROR:  permission denied to create event trigger "t"\nHINT:  Must be superuser to create an event trigger.',
      "permission denied to create event trigger",
      "DATABASE_ADMIN_URL",
    ],
    [
      "pg_restore: error: could not execute query: ERROR:  must be superuser to create FOR ALL TABLES publication",
      "must be superuser",
      "DATABASE_ADMIN_URL",
    ],
    [
      "pg_restore: error: could not execute query: ERROR:  only superuser can define a leakproof function",
      "only superuser can",
      "DATABASE_ADMIN_URL",
    ],
    // Warnings and notices come before the error.
    [
      'psql:<stdin>:5: WARNING:  01000: collation version mismatch\npsql:<stdin>:6: NOTICE:  42710: extension "x" already exists, skipping\npsql:<stdin>:31: ERROR:  42501: must be owner of schema x',
      "must be owner of schema x",
      "DATABASE_ADMIN_URL",
    ],
    [
      "psql:<stdin>:9: ERROR:  P0001: can only create extension in database postgres\nDETAIL:  Jobs must be scheduled",
      "one of its extensions can be in one database of a server only",
      "DROP EXTENSION pg_cron",
    ],
    // A server in another language: recognized by its SQLSTATE.
    ["psql:<stdin>:31: FEHLER:  42501: keine Berechtigung", "keine Berechtigung", "DATABASE_ADMIN_URL"],
  ])("%s", (message, what, hint) => {
    const denied = deniedBy(message, "admin");
    expect(denied).toBeInstanceOf(NotAllowed);
    expect(denied?.message).toContain(what);
    expect(denied?.hint).toContain(hint);
  });

  it.each([
    'psql:<stdin>:31: ERROR:  42P01: relation "permission denied" does not exist',
    "psql:<stdin>:31: ERROR:  23505: duplicate key value\nDETAIL:  Key (name)=(ERROR:  42501: x) already exists.",
    "unpacking failed (exit code 1): zstd: corrupt",
  ])("is not what else may be wrong: %s", (message) => {
    expect(deniedBy(message, "admin")).toBeUndefined();
  });
});
