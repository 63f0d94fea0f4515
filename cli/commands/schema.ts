import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Argument, type Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { withCommonOptions, type CommonOptions } from "../context.ts";
import { Output } from "../output.ts";
import type { SettingsFile } from "../reference/settings-reference.ts";

/**
 * The directory for --write, relative to the project. Not in Git: the files are generated from the program's schemas.
 */
const directory = ".togather/schema";
const names: Record<SettingsFile, string> = { stack: "stack.json", deployment: "deployment.json" };

export function schemaCommand(program: Command): void {
  withCommonOptions(program.command("schema"))
    .summary("make a JSON schema of the settings, for an editor")
    .description(
      "Prints the JSON schema of Pulumi.<stack>.yaml (stack) or deployment.yml (deployment), or writes both into .togather/schema/: an editor completes and checks settings by it.",
    )
    .addArgument(new Argument("[file]", "which one to print").choices(["stack", "deployment"]))
    .option("--write", "write both files, and say how an editor finds them")
    .action(async (file: SettingsFile | undefined, _options, command: Command) => {
      // Loaded here: most commands don't need the schemas.
      const { editorSchema } = await import("../reference/editor-schema.ts");
      const { json, write } = command.optsWithGlobals<CommonOptions & { write?: boolean }>();
      const output = new Output(json === true);
      if (write !== true) {
        // One JSON document in either case.
        process.stdout.write(`${JSON.stringify(editorSchema(file ?? "stack", project), null, 2)}\n`);
        return;
      }
      mkdirSync(join(project, directory), { recursive: true });
      const written = Object.entries(names).map(([kind, name]) => {
        const path = join(directory, name);
        writeFileSync(join(project, path), `${JSON.stringify(editorSchema(kind as SettingsFile, project), null, 2)}\n`);
        return path;
      });
      output.result({ written }, () =>
        [
          `Written: ${written.join(", ")}`,
          "As the first line of a file, for editors with the YAML language server:",
          ...written.map(
            (path, index) =>
              `  ${index === 0 ? "Pulumi.<stack>.yaml" : "deployment.yml     "}  # yaml-language-server: $schema=${path}`,
          ),
        ].join("\n"),
      );
    });
}
