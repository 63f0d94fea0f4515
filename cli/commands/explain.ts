import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { withCommonOptions, type CommonOptions } from "../context.ts";
import { columns, Output } from "../output.ts";
import type { Setting } from "../reference/settings-reference.ts";

const files = { stack: "Pulumi.<stack>.yaml", deployment: "deployment.yml" } as const;

/** The key as it is written in its file. */
const written = ({ key, file }: Setting): string => (file === "stack" ? `togather:${key}` : key);

function oneText(setting: Setting, expected: string): string {
  const { default: byDefault, meaning, more, file } = setting;
  const rows = [
    ["meaning", meaning],
    ["default", byDefault],
    ["expected", expected],
    ...(more.length === 0 ? [] : [["more", more.join(", ")]]),
  ];
  return `${written(setting)}, in ${files[file]}\n\n${columns(rows)}`;
}

const listText = (settings: readonly Setting[]): string =>
  (["stack", "deployment"] as const)
    .map((file) => {
      const rows = settings.filter((setting) => setting.file === file);
      return columns([[files[file].toUpperCase(), "MEANING"], ...rows.map((one) => [written(one), one.meaning])]);
    })
    .join("\n\n");

export function explainCommand(program: Command): void {
  withCommonOptions(program.command("explain"))
    .summary("show a setting's meaning, default and allowed values")
    .description(
      "Says what a setting of Pulumi.<stack>.yaml or deployment.yml means, in the words of docs/settings.md: router.maxBodySize, deployment.grace_period, JWT_SECRET. Lists all of them without a key.",
    )
    .argument("[key]", "setting, or the environment variable of a secret")
    .action(async (key: string | undefined, _options, command: Command) => {
      const output = new Output(command.optsWithGlobals<CommonOptions>().json === true);
      // Loaded here: most commands don't need the schemas.
      const { allSettings, expectedText, findSetting } = await import("../reference/settings-reference.ts");
      if (key === undefined) {
        const all = allSettings(project);
        output.result(all, () => listText(all));
        return;
      }
      const setting = findSetting(key, project);
      output.result(setting, () => oneText(setting, expectedText(setting.schema)));
    });
}
