import { containerName } from "../ops/contract/names.ts";
import * as pulumi from "@pulumi/pulumi";
import { firstRole, planAppRole, rotationSentence, type AppRolePlan } from "../config/app-role.ts";
import { toRunError } from "../config/run-error.ts";
import type { Settings } from "../config/settings.ts";
import type { HostNow } from "../ops/host/serving-slot.ts";
import { setSuperuserPassword } from "../ops/host/superuser-password.ts";

/**
 * Plans the role that servers log in with in the bundled database. Unless this is a preview, its superuser gets the
 * current password.
 */
export async function planDatabaseRole(
  { database, name, host }: Settings,
  { serving, states, databaseUrls }: HostNow,
): Promise<AppRolePlan> {
  if (database.mode === "external") return firstRole;
  const plan = planAppRole(database.password, serving?.slot, databaseUrls);
  const sentence = rotationSentence(plan, serving?.slot, pulumi.getStack());
  if (sentence !== undefined) void pulumi.log.warn(sentence);
  if (!plan.rotated || states.database === undefined || pulumi.runtime.isDryRun()) return plan;
  await setSuperuserPassword({
    container: containerName(name, "database"),
    host,
    // Over the standard input of the container's psql.
    // eslint-disable-next-line no-restricted-syntax
    password: database.password.reveal(),
  }).catch((error: unknown) => {
    throw toRunError(error);
  });
  return plan;
}
