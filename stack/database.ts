import { containerName } from "../ops/contract/names.ts";
import * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/settings.ts";
import { toRunError } from "../config/run-error.ts";
import { forwardDatabase, forwardedPort, isElsewhere } from "../ops/host/forward-database.ts";
import { derivedPassword, type AppRolePlan } from "../config/app-role.ts";
import { Database, type DatabaseUrls } from "../components/database.ts";
import type { HostContext } from "../components/host.ts";
import { secretOutput, secretOutputOf } from "./secret-output.ts";
import { engineAddress } from "./host-lock.ts";
import { BundledImage } from "../components/image.ts";

/**
 * The port of this machine's loopback through which roles and extensions are declared: the engine's own, or one that is
 * forwarded to another machine's. In a preview too: `pulumi refresh --run-program` reads existing resources in its
 * preview.
 */
async function reachableAt({ name, host, databasePort }: Settings): Promise<number> {
  if (!isElsewhere(host, process.env)) return databasePort;
  const engine = engineAddress();
  const port = forwardedPort(name);
  if (engine === undefined) return port;
  return forwardDatabase({ container: containerName(name, "database"), host, engine, port }).catch((error: unknown) => {
    throw toRunError(error);
  });
}

/**
 * The database that the settings ask for: PostgreSQL in a container of this stack, or an external one.
 * @param plan the role that servers log in with in the bundled database.
 */
export async function declareDatabase(
  settings: Settings,
  { context, networkName, plan }: { context: HostContext; networkName: pulumi.Input<string>; plan: AppRolePlan },
  onHost: pulumi.ComponentResourceOptions,
): Promise<DatabaseUrls> {
  const { name, addresses, database, databasePort, rules } = settings;
  if (database.mode === "external") {
    const { url, migrationUrl, adminUrl } = database;
    // An external database: no part of it belongs to this stack, and none is deleted with this stack.
    return {
      ownerUrl: secretOutput(migrationUrl),
      appUrl: secretOutput(url),
      adminUrl: secretOutputOf(adminUrl),
    };
  }
  const port = await reachableAt(settings);
  const { imageId } = new BundledImage("postgres-image", { image: "postgres", context });
  return new Database(
    "database",
    {
      name,
      networkName,
      imageId,
      address: addresses.database,
      loopbackPort: databasePort,
      reachableAt: port,
      extensions: database.extensions,
      maxConnections: database.maxConnections,
      password: secretOutput(database.password),
      passwordOf: (role) => secretOutput(derivedPassword(database.password, role)),
      appRole: plan,
      protectData: rules.protectData,
    },
    onHost,
  );
}
