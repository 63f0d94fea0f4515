import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const read = (file: string): string => readFileSync(join(import.meta.dirname, "..", file), "utf8");

it("has the version of package.json and its lock at the top, with a word about upgrading", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  const lock = JSON.parse(read("package-lock.json")) as {
    version: string;
    packages: Record<string, { version: string }>;
  };
  expect([lock.version, lock.packages[""]?.version]).toEqual([version, version]);
  expect(/^## (\S+)\n\n### (\w+)/m.exec(read("CHANGELOG.md"))?.slice(1)).toEqual([version, "Upgrading"]);
});

it("is of a project under the Apache License, whose text is the standard's own", () => {
  expect((JSON.parse(read("package.json")) as { license: string }).license).toBe("Apache-2.0");
  // The digest of https://www.apache.org/licenses/LICENSE-2.0.txt.
  expect(createHash("sha256").update(read("LICENSE")).digest("hex")).toBe(
    "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
  );
});
