import "./config/node.ts";
import { holdHostLock } from "./components/host-lock.ts";
import { askInterrupted } from "./components/interrupted.ts";
import { readSettings } from "./config/pulumi-config.ts";

const settings = readSettings();
const interrupted = askInterrupted();
// What the stack is made of is loaded while the Docker host answers.
const [declare] = await Promise.all([
  settings.rules.blueGreen ? import("./components/blue-green.ts").then(({ blueGreen }) => blueGreen) : import("./components/development.ts").then(({ development }) => development),
  holdHostLock(settings),
]);

/** The stack's outputs. */
export default await declare(settings, interrupted);
