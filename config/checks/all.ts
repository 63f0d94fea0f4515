import type { Check } from "./check.ts";
import { checkDatabase } from "./database.ts";
import { checkHttps } from "./https.ts";
import { checkClosedPaths, checkPorts, checkTrustedProxies } from "./router.ts";
import { checkSecrets } from "./secrets.ts";
import { checkServer } from "./server.ts";
import { checkSlots } from "./slots.ts";
import { checkSnapshots } from "./snapshots.ts";

/** All checks of settings beyond their shape, in the order of their messages. */
export const checks: readonly Check[] = [
  checkServer,
  checkDatabase,
  checkSecrets,
  checkSnapshots,
  checkSlots,
  checkHttps,
  checkClosedPaths,
  checkTrustedProxies,
  checkPorts,
];
