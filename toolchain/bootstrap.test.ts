import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { packagesMatch } from "./bootstrap.mjs";
import { isAtLeast } from "./is-at-least.mjs";
import { project } from "./setup.ts";
import { temporaryDirectory } from "../test/fake-machine.ts";

const LOCK = {
  packages: {
    "": { version: "1.0.0" },
    "node_modules/a": { version: "2.0.0" },
    "node_modules/only-mac": { version: "1.0.0", optional: true },
  },
};

/** A project with bootstrap.mjs, installed packages as `installed` says, and an npm that says it was called. */
function makeProject(installed: unknown): { directory: string; npm: string } {
  const directory = temporaryDirectory();
  for (const file of ["bootstrap.mjs", "foreground.mjs", "is-at-least.mjs"]) {
    mkdirSync(join(directory, "toolchain"), { recursive: true });
    cpSync(join(project, "toolchain", file), join(directory, "toolchain", file));
  }
  mkdirSync(join(directory, "node_modules", ".bin"), { recursive: true });
  writeFileSync(join(directory, "package-lock.json"), JSON.stringify(LOCK));
  writeFileSync(join(directory, "node_modules", ".package-lock.json"), JSON.stringify(installed));
  writeFileSync(
    join(directory, "main.ts"),
    'const text: string = process.argv.slice(2).join("|"); console.log(`ran ${process.argv0} ${text}`); process.exitCode = 7;',
  );
  const npm = join(dirname(directory), "npm-cli.js");
  writeFileSync(npm, 'console.log("npm", process.argv.slice(2).join(" "));');
  return { directory, npm };
}

function bootstrap(directory: string, npm: string, ...args: string[]): Promise<{ code: unknown; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, npm_execpath: npm, npm_node_execpath: process.execPath };
    execFile(
      process.execPath,
      [join(directory, "toolchain", "bootstrap.mjs"), ...args],
      { env },
      (error, stdout, stderr) => {
        resolve({ code: error?.code ?? 0, output: stdout + stderr });
      },
    );
  });
}

describe("bootstrap", () => {
  it("compares versions by number", () => {
    expect(isAtLeast("22.18.0", "22.18.0")).toBe(true);
    expect(isAtLeast("v22.9.0", "22.18.0")).toBe(false);
    expect(isAtLeast("24.0.0-nightly", "22.18.0")).toBe(true);
    expect(isAtLeast("go1.26.8", "1.26")).toBe(true);
    expect(isAtLeast("19.03.15", "20.10.0")).toBe(false);
    expect(isAtLeast("", "1.0.0")).toBe(false);
  });

  it("knows when the installed packages are those of the lock file", () => {
    expect(packagesMatch(LOCK, { packages: { "node_modules/a": { version: "2.0.0" } } })).toBe(true);
    expect(packagesMatch(LOCK, { packages: { "node_modules/a": { version: "1.9.0" } } })).toBe(false);
    expect(packagesMatch(LOCK, undefined)).toBe(false);
  });

  it("runs TypeScript with arguments and keeps the exit code, without npm when nothing is missing", async () => {
    const { directory, npm } = makeProject(LOCK);
    const { code, output } = await bootstrap(directory, npm, "main.ts", "a b", "--c");
    expect(output).toMatch(/^ran .+ a b\|--c\n$/);
    expect(code).toBe(7);
  });

  it("prefers the Node of the npm packages", async () => {
    const { directory, npm } = makeProject(LOCK);
    const packaged = join(directory, "node_modules", ".bin", "node");
    writeFileSync(packaged, `#!/bin/sh\nexport PACKAGED=yes\nexec "${process.execPath}" "$@"\n`, { mode: 0o755 });
    writeFileSync(join(directory, "main.ts"), "console.log(process.env.PACKAGED, process.argv.slice(2))");
    expect((await bootstrap(directory, npm, "main.ts", "a")).output).toBe("yes [ 'a' ]\n");
  });

  it("is itself the process where its Node is that one, in the project, with what the packages bring", async () => {
    const { directory, npm } = makeProject(LOCK);
    const bin = join(directory, "node_modules", ".bin");
    symlinkSync(process.execPath, join(bin, "node"));
    writeFileSync(
      join(directory, "main.ts"),
      "console.log(JSON.stringify([process.ppid, process.cwd(), process.argv[1], process.env.PATH, process.env.NODE_COMPILE_CACHE]))",
    );
    const { output } = await bootstrap(directory, npm, "main.ts");
    const [parent, cwd, script, path, cache] = JSON.parse(output) as [number, string, string, string, string];
    expect(parent).toBe(process.pid);
    expect([cwd, script]).toEqual([directory, join(directory, "main.ts")].map((one) => realpathSync(one)));
    expect(path.split(delimiter)[0]).toBe(realpathSync(bin));
    expect(cache).toBe(process.env["NODE_COMPILE_CACHE"] ?? join(realpathSync(directory), "node_modules/.cache/node"));
  });

  it("says what a program throws, and ends with 1", async () => {
    const { directory, npm } = makeProject(LOCK);
    writeFileSync(join(directory, "main.ts"), 'throw new Error("as it says");');
    const { code, output } = await bootstrap(directory, npm, "main.ts");
    expect(code).toBe(1);
    expect(output).toContain("Error: as it says");
  });

  it("leaves a packaged Node alone that cannot run here", async () => {
    const { directory, npm } = makeProject(LOCK);
    writeFileSync(join(directory, "node_modules", ".bin", "node"), "not a program", { mode: 0o755 });
    expect((await bootstrap(directory, npm, "main.ts")).output).toBe(`ran ${process.execPath} \n`);
  });

  it("installs the packages once, without scripts", async () => {
    const { directory, npm } = makeProject({ packages: {} });
    const first = await bootstrap(directory, npm, "main.ts");
    expect(first.output).toMatch(
      /^Installing the npm packages .*\nnpm ci --ignore-scripts .*\nInstalled them in [\d.]+ s\.\nran /,
    );
    expect((await bootstrap(directory, npm, "main.ts")).output).toMatch(/^ran /);
    expect(JSON.parse(readFileSync(join(directory, "node_modules", ".togather-stamp.json"), "utf8"))).toHaveProperty(
      "packageLock",
    );
  });

  it("says so when npm fails, and tries again the next time", async () => {
    const { directory, npm } = makeProject({ packages: {} });
    writeFileSync(npm, "process.exitCode = 1;");
    for (let attempt = 0; attempt < 2; attempt++) {
      const { code, output } = await bootstrap(directory, npm, "main.ts");
      expect(output).toMatch(/could not be installed/);
      expect(output).not.toMatch(/^ran|^ +at /m);
      expect(code).toBe(1);
    }
  });
});
