import { expect, it } from "vitest";
import { missingExtension } from "./extension-tables.ts";

it.each([
  [
    'ERROR: permission denied to create extension "vector" (SQLSTATE 42501)',
    true,
    /^add vector to togather:database\.extensions/,
  ],
  [
    'ERROR: permission denied to create extension "uuid-ossp" (SQLSTATE 42501)',
    false,
    /of the database live: CREATE EXTENSION "uuid-ossp";/,
  ],
  [
    'ERROR: extension "timescaledb" is not available (SQLSTATE 0A000)',
    true,
    /images\/postgres\/Dockerfile, and timescaledb into/,
  ],
  [
    'ERROR: extension "timescaledb" is not available (SQLSTATE 0A000)',
    false,
    /^have timescaledb installed on the database server/,
  ],
  [
    'ERROR: could not open extension control file "/usr/share/postgresql/14/extension/timescaledb.control": No such file or directory (SQLSTATE 58P01)',
    false,
    /^have timescaledb installed/,
  ],
])("says what mends %s", (message, bundled, hint) => {
  expect(missingExtension(message, { database: "live", bundled })).toMatch(hint);
});

it("has nothing to say of other failures", () => {
  expect(missingExtension("ERROR: permission denied for table a", { database: "live", bundled: true })).toBeUndefined();
});
