import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { project } from "../toolchain/setup.ts";

/** Names of the packages that a module of this project loads before anything is called. */
function packagesOf(module: string): string[] {
  const program = `
    import { registerHooks } from "node:module";
    const seen = new Set();
    registerHooks({ load(url, context, next) {
      const [, name] = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url) ?? [];
      if (name !== undefined) seen.add(name);
      return next(url, context);
    } });
    await import(${JSON.stringify(join(project, module))});
    console.log(JSON.stringify([...seen]));`;
  const told = execFileSync(process.execPath, ["--input-type=module", "--eval", program], { cwd: project });
  return JSON.parse(told.toString()) as string[];
}

// Every command waits for modules that are loaded at its start, whether it uses them or not.
it("loads at a command's start no more than most commands use", () => {
  const packages = packagesOf("cli/program.ts");
  expect(packages).toContain("commander");
  const late = ["@pulumi/pulumi", "execa", "libpg-query", "listr2", "pg", "pino", "semver", "tar"];
  expect(packages.filter((name) => late.includes(name))).toEqual([]);
});

it("loads for `npm run pulumi` neither settings nor YAML", () => {
  expect(packagesOf("cli/new-stack.ts")).toEqual([]);
  // Two words are compared by a small one.
  expect(packagesOf("cli/npm-options.ts")).toEqual(["leven"]);
  expect(packagesOf("cli/example-file.ts")).toEqual([]);
});
