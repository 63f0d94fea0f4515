import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const project = join(import.meta.dirname, "..");
const { updates } = parse(readFileSync(join(project, ".github/dependabot.yml"), "utf8")) as {
  updates: { "package-ecosystem": string; directory?: string; directories?: string[] }[];
};

describe(".github/dependabot.yml", () => {
  it.each([
    ["npm", "package.json"],
    ["gomod", "go.mod"],
    ["docker", "Dockerfile"],
  ])("watches for %s wherever a %s is, and nowhere else", (ecosystem, file) => {
    const there = globSync(`**/${file}`, {
      cwd: project,
      // Data for tests may have to be old.
      exclude: (path) => /(^|\/)(node_modules|\.togather|samples|bench-results)(\/|$)/.test(path),
    }).map((path) => join("/", dirname(path)));
    const watched = updates
      .filter((update) => update["package-ecosystem"] === ecosystem)
      .flatMap(({ directory, directories }) => directories ?? [directory]);
    expect(watched.sort()).toEqual(there.sort());
  });
});
