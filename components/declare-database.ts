import * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/load.ts";
import { Database, type DatabaseUrls } from "./database.ts";
import { externalDatabase } from "./external-database.ts";
import type { HostContext } from "./host.ts";
import { BundledImage } from "./image.ts";

/** The database that the settings ask for: PostgreSQL in a container of this stack, or one that is there already. */
export function declareDatabase(settings: Settings, { context, networkName }: { context: HostContext; networkName: pulumi.Input<string> }, onHost: pulumi.ComponentResourceOptions): DatabaseUrls {
  const { name, addresses, database, databasePort, rules } = settings;
  if (database.mode === "external") return externalDatabase(database);
  const { imageId } = new BundledImage("postgres-image", { image: "postgres", context });
  return new Database(
    "database",
    {
      name,
      networkName,
      imageId,
      address: addresses.database,
      loopbackPort: databasePort,
      extensions: database.extensions,
      password: pulumi.secret(database.password),
      protectData: rules.protectData,
    },
    onHost,
  );
}
