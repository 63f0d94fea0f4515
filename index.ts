import "./config/node.ts";
import { holdHostLock } from "./stack/host-lock.ts";
import { askInterrupted } from "./stack/interrupted.ts";
import { askServing } from "./stack/serving.ts";
import { readSettings } from "./config/pulumi-config.ts";
import { orRunError } from "./config/run-error.ts";
import { contextAddress } from "./ops/host/docker-context.ts";

const settings = readSettings();
// Before the lock is taken on an engine on which the containers would not be.
if (settings.host === "") orRunError(() => contextAddress(process.env));
const interrupted = askInterrupted();
const locked = holdHostLock(settings, process.env["TOGATHER_LOCK"]);
// What serves is known only while nobody else deploys; a preview takes no lock and waits for none.
const asked = locked.then(() =>
  settings.rules.blueGreen
    ? askServing(settings)
    : { serving: undefined, router: undefined, states: {}, databaseUrls: {} },
);
// A failure is the stack's, which waits for it.
asked.catch(() => undefined);
// What the stack is made of is loaded while the Docker host answers.
const [declare] = await Promise.all([
  settings.rules.blueGreen
    ? import("./stack/blue-green.ts").then(({ blueGreen }) => blueGreen)
    : import("./stack/development.ts").then(({ development }) => development),
  locked,
]);

/** The stack's outputs. */
export default await declare(settings, interrupted, asked);
