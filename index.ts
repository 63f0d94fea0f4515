import "./config/node.ts";
import { blueGreen } from "./components/blue-green.ts";
import { development } from "./components/development.ts";
import { holdHostLock } from "./components/host-lock.ts";
import { askInterrupted } from "./components/interrupted.ts";
import { readSettings } from "./config/pulumi-config.ts";

const settings = readSettings();
const interrupted = askInterrupted();
await holdHostLock(settings);

/** The stack's outputs. */
export default settings.rules.blueGreen ? await blueGreen(settings, interrupted) : await development(settings, interrupted);
