import "./config/node.ts";
import { readSettings } from "./config/pulumi-config.ts";
import { tellRefusal } from "./config/refusal.ts";
import { open } from "./stack/open.ts";

/** The stack's outputs. */
export default await tellRefusal(process.env, async () => {
  const settings = readSettings();
  const opening = open(settings, process.env);
  // The graph is loaded while the Docker host answers.
  const [{ declare }] = await Promise.all([
    settings.rules.blueGreen ? import("./stack/blue-green.ts") : import("./stack/development.ts"),
    opening.locked,
  ]);
  return declare(settings, opening);
});
