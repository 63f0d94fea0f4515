import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { lateMigrations, misnamedMigrations, type MigrationSource } from "./pending-migrations.ts";

const directory = mkdtempSync(join(tmpdir(), "pending-test-"));
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** The working tree of a release with these files. */
function release(name: string, files: readonly string[]): MigrationSource {
  mkdirSync(join(directory, name));
  for (const file of files) writeFileSync(join(directory, name, file), "");
  return { repository: directory, commit: "tree-1", path: name };
}
const waiver = (file: string, rule: string) => ({ file, rule, reason: "by hand" });

describe("what a preview knows of a release's migrations", () => {
  it("is which ones are out of order, unless the stack file allows them", async () => {
    const serves = release("serves", ["1_a.up.sql", "3_c.up.sql"]);
    const next = release("next", ["1_a.up.sql", "2_b.up.sql", "3_c.up.sql", "4_d.up.sql"]);
    expect(await lateMigrations(next, 3, [serves], [])).toMatch(/^2_b\.up\.sql was never applied/);
    expect(await lateMigrations(next, 3, [serves], [waiver("2_b.up.sql", "out-of-order")])).toBeUndefined();
    expect(await lateMigrations(next, 3, [serves], [waiver("2_b.up.sql", "drop-table")])).toMatch(/^2_b/);
  });

  it("is which names golang-migrate passes over, unless the stack file allows them", async () => {
    const odd = release("odd", ["1_a.up.sql", "2_b.UP.sql"]);
    expect(await misnamedMigrations(odd, [])).toMatch(/^2_b\.UP\.sql would never be applied/);
    expect(await misnamedMigrations(odd, [waiver("2_b.UP.sql", "not-read")])).toBeUndefined();
    expect(await misnamedMigrations({ ...odd, path: "nowhere" }, [])).toBeUndefined();
  });
});
