import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { exitCodes } from "./exit-codes.ts";
import { asFailure, Failure } from "./failure.ts";
import { togather } from "./program.ts";
import { showError } from "./show-error.ts";
import { ago, columns } from "./output.ts";
import { SettingsError } from "../config/problems.ts";
import { StepError } from "../ops/contract/errors.ts";
import { Problem } from "../toolchain/problem.ts";

const project = join(import.meta.dirname, "..");
const doc = readFileSync(join(project, "docs/cli.md"), "utf8");

/** The rows of the first table below a heading. */
function table(heading: string): string[][] {
  const section = doc.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const program = togather(() => undefined);
const names = program.commands.map((command) => command.name());
const optionsOf = (command: Command): string[] => command.options.map(({ long }) => long ?? "");

afterEach(() => {
  vi.restoreAllMocks();
});

/** Parses as on the command line, without running a command. */
async function parse(...args: string[]): Promise<{ error: unknown; stderr: string }> {
  let stderr = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  const one = togather(() => undefined);
  for (const command of one.commands) command.action(() => undefined);
  const error: unknown = await one.parseAsync(args, { from: "user" }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { error, stderr };
}

describe("exit codes", () => {
  it("stand in docs/cli.md as in the code", () => {
    expect(table("Exit codes")).toEqual(
      Object.entries(exitCodes).map(([name, { code, meaning }]) => [String(code), name, meaning]),
    );
  });
  it("are all different", () => {
    const codes = Object.values(exitCodes).map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
  });
  it("belong to errors", () => {
    const code = (error: unknown) => exitCodes[asFailure(error)?.ending ?? "other"].code;
    expect(code(new SettingsError([{ where: "x", what: "y" }]))).toBe(2);
    expect(code(new Failure("lock", "held"))).toBe(3);
    expect(code(new StepError("no docker"))).toBe(1);
    expect(code(new Problem("no npm"))).toBe(1);
    expect(asFailure(new TypeError("a bug"))).toBeUndefined();
  });
});

describe("docs/cli.md", () => {
  it("lists the commands there are", () => {
    const documented =
      doc
        .split("\n## ")[0]
        ?.split("\n")
        .flatMap((line) => /^\| `([\w-]+)/.exec(line)?.[1] ?? []) ?? [];
    expect(documented.sort()).toEqual([...names].sort());
  });
  it("lists the options there are, with the commands that have them", () => {
    for (const [option = "", commands = ""] of table("Options")) {
      const long = /--[a-z-]+/.exec(option)?.[0] ?? "";
      const expected = commands === "all" ? names : commands.split(", ").filter((name) => name !== "");
      const having = program.commands
        .filter((command) => optionsOf(command).includes(long))
        .map((command) => command.name());
      if (commands !== "") expect(having.sort(), long).toEqual([...expected].sort());
    }
    const documented = new Set(table("Options").flatMap(([option = ""]) => option.match(/--[a-z-]+/g) ?? []));
    for (const command of program.commands)
      for (const option of optionsOf(command)) expect(documented, `${command.name()} ${option}`).toContain(option);
  });
});

describe("docs/cli.md on snapshots", () => {
  it("lists the commands there are", () => {
    const group = program.commands.find((command) => command.name() === "snapshots");
    expect(table("Snapshots").map(([cell]) => /^`snapshots (\w+)/.exec(cell ?? "")?.[1])).toEqual(
      group?.commands.map((command) => command.name()),
    );
  });
});

describe("arguments", () => {
  it("may have the stack before or behind the command", () => {
    for (const args of [
      ["--stack", "a", "status"],
      ["status", "--stack", "a"],
    ]) {
      const one = togather(() => undefined);
      let seen: string | undefined;
      one.commands
        .find((command) => command.name() === "status")
        ?.action((_options, command: Command) => {
          seen = command.optsWithGlobals<{ stack: string }>().stack;
        });
      one.parse(args, { from: "user" });
      expect(seen, args.join(" ")).toBe("a");
    }
  });
  it("tell the program's version from a release's", async () => {
    const { error } = await parse("release", "v1.4.0", "--version", "v9");
    expect(error).toBeUndefined();
    const own = await parse("--version");
    expect(own.error).toMatchObject({ code: "commander.version", exitCode: 0 });
    expect(showError(own.error, false)).toBe(0);
  });
  it("of a command to run are its own, whatever they look like", () => {
    for (const args of [
      ["exec", "--slot", "green", "--", "ls", "--json", "--slot", "x"],
      ["--stack", "a", "exec", "--slot", "green", "ls", "--json", "--slot", "x"],
    ]) {
      const one = togather(() => undefined);
      let seen: unknown;
      one.commands
        .find((command) => command.name() === "exec")
        ?.action((words, _options, command: Command) => {
          seen = { words: words as unknown, ...command.optsWithGlobals() };
        });
      one.parse(args, { from: "user" });
      expect(seen, args.join(" ")).toEqual({
        words: ["ls", "--json", "--slot", "x"],
        slot: "green",
        ...(args[0] === "--stack" ? { stack: "a" } : {}),
      });
    }
  });
  it("that are wrong end with 2 and a suggestion", async () => {
    for (const args of [
      ["relase"],
      ["release", "--dryrun"],
      ["history", "--limit", "0"],
      ["release", "a", "b"],
      ["rollback", "--to"],
      ["exec"],
      ["exec", "--slot", "router", "--", "ls"],
      ["logs", "--slot", "red"],
      ["logs", "--tail", "few"],
    ]) {
      const { error, stderr } = await parse(...args);
      expect(error, args.join(" ")).toBeDefined();
      expect(showError(error, false)).toBe(2);
      expect(stderr).toMatch(/→ togather --help/);
    }
    expect((await parse("relase")).stderr).toMatch(/Did you mean release\?/);
  });
});

describe("errors", () => {
  it("are shown with their fix and without a stack trace; as JSON too", () => {
    let [stdout, stderr] = ["", ""];
    vi.spyOn(process.stderr, "write").mockImplementation((text) => Boolean((stderr += String(text))));
    vi.spyOn(process.stdout, "write").mockImplementation((text) => Boolean((stdout += String(text))));
    expect(showError(new Failure("config", "there is no such thing", "make one"), true)).toBe(2);
    expect(stderr).toContain("there is no such thing\n  → make one\n");
    expect(stderr).not.toMatch(/\bat .*\.ts:\d+/);
    expect(JSON.parse(stdout)).toEqual({
      ok: false,
      ending: "config",
      exitCode: 2,
      errors: ["there is no such thing"],
      fix: "make one",
    });
  });
  it("of arguments are a document for machines too", async () => {
    for (const args of [
      ["relase"],
      ["release", "--dryrun"],
      ["history", "--limit", "0"],
      ["release", "a", "b"],
      ["rollback", "--to"],
    ]) {
      const { error } = await parse(...args);
      let stdout = "";
      const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => Boolean((stdout += String(text))));
      expect(showError(error, true)).toBe(2);
      write.mockRestore();
      expect(JSON.parse(stdout), args.join(" ")).toEqual({
        ok: false,
        ending: "config",
        exitCode: 2,
        errors: [expect.stringMatching(/^(?!error)\w/)],
        fix: "togather --help",
      });
    }
  });
});

describe("the output", () => {
  it("has columns and times that can be read", () => {
    expect(
      columns([
        ["a", "bb"],
        ["cccc", "d"],
      ]),
    ).toBe("a     bb\ncccc  d");
    const now = Date.parse("2026-01-10T00:00:00Z");
    expect([1, 119, 600, 7200, 86_400 * 3].map((s) => ago(new Date(now - s * 1000).toISOString(), now))).toEqual([
      "1 s",
      "119 s",
      "10 min",
      "2 h",
      "3 d",
    ]);
  });
});
