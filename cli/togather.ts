// `togather`, the operator's command. The program in index.ts does the work; this edits the stack file, runs Pulumi and
// shows the result.
import { outliveReaders } from "./closed-pipe.ts";
import { togather } from "./program.ts";
import { showError } from "./show-error.ts";

outliveReaders();
// Arguments after -- belong to another command.
const separator = process.argv.indexOf("--");
const ownArguments = separator === -1 ? process.argv : process.argv.slice(0, separator);

try {
  await togather((code) => {
    process.exitCode = code;
  }).parseAsync();
} catch (error) {
  process.exitCode = showError(error, ownArguments.includes("--json"));
}
