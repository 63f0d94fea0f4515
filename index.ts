import "./config/node.ts";
import { readSettings } from "./config/pulumi-config.ts";
import { open } from "./stack/open.ts";

const settings = readSettings();
const opening = open(settings, process.env);
// The graph is loaded while the Docker host answers.
const [{ declare }] = await Promise.all([
  settings.rules.blueGreen ? import("./stack/blue-green.ts") : import("./stack/development.ts"),
  opening.locked,
]);

/** The stack's outputs. */
export default await declare(settings, opening);
