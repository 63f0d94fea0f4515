import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { project } from "../../toolchain/setup.ts";
import { chooseTests, deadRules, importsOf } from "./changed.ts";

describe("what a change can have broken", () => {
  const tests = globSync("test/integration/**/*.test.ts", { cwd: project });
  let imports: Awaited<ReturnType<typeof importsOf>>;
  beforeAll(async () => {
    imports = await importsOf(tests);
  });
  const choose = (...changed: string[]): string[] | string => {
    const { all, ...choice } = chooseTests(changed, imports);
    return all ?? ("files" in choice ? [...choice.files.keys()].map((file) => file.slice(17, -8)).sort() : []);
  };
  const names = tests.map((file) => file.slice(17, -8)).sort();

  it("is all that deploys for what is deployed, and what runs steps for the steps", () => {
    const stacks = choose("components/release.ts");
    expect(stacks).toEqual(expect.arrayContaining(["deployment", "cli", "remote", "development"]));
    expect(stacks).not.toContain("ops");
    expect(stacks).not.toContain("copy");
    expect(choose("migrations/000001_places.up.sql")).toEqual(stacks);
    expect(choose("server/main.go")).toEqual(stacks);
    // Nobody imports the program that runs in the containers.
    expect(choose("ops/container/main.ts")).toEqual(names);
    expect(choose("images/ops/Dockerfile")).toEqual(names);
  });

  it("is what uses a helper, a sample or a document", () => {
    for (const [changed, test, other] of [
      ["test/integration/s3-storage.ts", "copy", "router"],
      ["test/s3-server/Dockerfile", "copy", "router"],
      ["test/integration/lock-holder.ts", "lock", "copy"],
      ["test/samples/nested/go.mod", "external", "cli"],
      ["test/bench/traffic/client/main.go", "traffic", "cli"],
      ["test/integration/kill.test.ts", "kill", "cli"],
    ] as const) {
      expect(choose(changed), changed).toContain(test);
      expect(choose(changed), changed).not.toContain(other);
    }
    expect(choose("docs/snapshots.md")).not.toEqual([]);
  });

  it("is nothing for other documents and for unit tests", () => {
    expect(choose("README.md", "docs/migrations.md", "cli/stack-file.test.ts", ".github/workflows/x.yml")).toEqual([]);
  });

  it("is everything for what all tests stand on, and for what nobody knows", () => {
    expect(choose("package-lock.json")).toBe("package-lock.json has changed");
    expect(choose("README.md", "secret-sauce.bin")).toMatch(/^what reads secret-sauce\.bin is not known/);
    expect(choose("test/integration/gone.ts")).toMatch(/^what reads test\/integration\/gone\.ts is not known/);
  });

  it("is decided by rules that name what is there", () => {
    expect(deadRules()).toEqual([]);
  });

  it("knows what tests read beside their own folder", () => {
    const helpers = new Set(
      [...imports.values()].flatMap((files) => [...files]).filter((file) => /^test\//.test(file)),
    );
    for (const file of helpers) {
      const text = readFileSync(join(project, file), "utf8");
      for (const [, path = ""] of text.matchAll(/import\.meta\.dirname, "([^"]+)"/g)) {
        const target = join(dirname(file), path);
        // The project's directory, from which each test says further what it reads.
        if (target === "." || target === "bench-results") continue;
        const changed = target.includes(".") ? target : `${target}/any`;
        const { all, ...choice } = chooseTests([changed], imports);
        const chosen = "files" in choice ? [...choice.files.keys()] : [];
        const users = tests.filter((test) => imports.get(test)?.has(file));
        expect(all === undefined ? chosen : users, `${file} reads ${target}`).toEqual(expect.arrayContaining(users));
      }
    }
  });
});
