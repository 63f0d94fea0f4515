import { describe, expect, it } from "vitest";
import { refuseTakenOptions } from "./npm-options.ts";
import { togather } from "./program.ts";
import { run } from "../toolchain/run.ts";
import { project } from "../toolchain/setup.ts";

const npm = (variables: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ npm_lifecycle_event: "togather", ...variables });

describe("options that npm has taken for itself", () => {
  it("are refused by name, with the way to write them", () => {
    const refused = (): void => {
      refuseTakenOptions(
        "togather",
        ["stack", "dry-run", "json"],
        npm({ npm_config_stack: "staging", npm_config_dry_run: "true" }),
      );
    };
    expect(refused).toThrow(/npm took --stack and --dry-run for itself.*Nothing was done/);
    expect(() => {
      refuseTakenOptions("togather", ["stack"], npm({ npm_config_dry_run: "true" }));
    }).not.toThrow();
    // Variables for npm on CI machines: at worst a question is asked.
    expect(() => {
      refuseTakenOptions("togather", ["yes", "force"], npm({ npm_config_yes: "true", npm_config_force: "true" }));
    }).not.toThrow();
    // `togather` itself, or another script that calls it.
    expect(() => {
      refuseTakenOptions("togather", ["stack"], { npm_config_stack: "staging" });
    }).not.toThrow();
  });

  it.each([
    [{ npm_config_dryrun: "true" }, [], "--dryrun"],
    [{ npm_config_stak: "true" }, ["up", "production"], "--stak"],
    [{ npm_config_sproduction: "true" }, [], "-sproduction"],
    // npm's --silent is -s as well.
    [{ npm_config_loglevel: "silent" }, ["production"], "-s production"],
  ])("are refused as well where npm does not know them, or knows another: %j", (variables, typed, shown) => {
    expect(() => {
      refuseTakenOptions("togather", ["stack", "dry-run"], npm(variables), { stacks: ["production"], typed });
    }).toThrow(`npm took ${shown} for itself`);
  });

  it("are not those of npm itself", () => {
    const own = {
      npm_config_loglevel: "silent",
      npm_config_cache: "/c",
      npm_config_script_shell: "sh",
      npm_config_call: "",
    };
    expect(() => {
      const more = { stacks: ["production"], typed: ["v1.1.0"] };
      refuseTakenOptions("togather", ["stack", "all", "to", "copies"], npm(own), more);
    }).not.toThrow();
  });

  // Each option of each command, in the forms in which npm passes it: true, a value, or empty (--no-…).
  const commands = togather(() => undefined).commands.flatMap((command) =>
    command.commands.length > 0 ? [...command.commands] : [command],
  );
  const cases = commands.flatMap((command) =>
    command.options.flatMap(({ long, required }) =>
      long === undefined || ["--version", "--yes", "--force"].includes(long)
        ? []
        : [{ name: command.name(), parent: command.parent?.name() ?? "", long, required }],
    ),
  );
  it.each(cases)("of $parent $name: $long", async ({ name, parent, long, required }) => {
    const variable = `npm_config_${long.replace(/^--(no-)?/, "").replaceAll("-", "_")}`;
    const value = long.startsWith("--no-") ? "" : required ? "staging" : "true";
    let ran = false;
    const program = togather(() => undefined, npm({ [variable]: value }));
    const called = parent === "togather" ? [name] : [parent, name];
    const command = called.reduce((at, word) => at.commands.find((one) => one.name() === word) ?? at, program);
    command.action(() => {
      ran = true;
    });
    const args = command.registeredArguments.filter((argument) => argument.required).map(() => "x");
    await expect(program.parseAsync([...called, ...args], { from: "user" })).rejects.toThrow(
      `npm took ${long} for itself`,
    );
    expect(ran).toBe(false);
  });
});

it("does not let npm start deploy where npm took its --dry-run", async () => {
  const { ok, output } = await run(process.execPath, ["cli/start.ts"], {
    cwd: project,
    env: { ...process.env, npm_lifecycle_event: "start", npm_config_dry_run: "true" },
  });
  expect(ok).toBe(false);
  expect(output).toContain("npm took --dry-run for itself");
});
