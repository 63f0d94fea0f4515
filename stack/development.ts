import * as pulumi from "@pulumi/pulumi";
import type { SlotRelease } from "../config/release.ts";
import type { Settings } from "../config/settings.ts";
import { networkVariables } from "../ops/client/network-variables.ts";
import { deploymentValues } from "../config/deployment-values.ts";
import { listenAddresses } from "../config/schema/listen-addresses.ts";
import { fillInAll } from "../config/placeholders.ts";
import { primaryUrl } from "../config/public-url.ts";
import { migrationsHash } from "../config/working-tree.ts";
import { firstRole } from "../config/app-role.ts";
import { declareDatabase } from "./database.ts";
import { DevelopmentServer } from "../components/development-server.ts";
import { dockerProvider, hostContext } from "../components/host.ts";
import { BundledImage } from "../components/image.ts";
import { putInOrder, type Opening } from "./open.ts";
import { Network } from "../components/network.ts";
import { StepComponent } from "../components/step.ts";
import { migrateRequest } from "./requests.ts";
import { serverSecrets } from "./server-secrets.ts";

/** A development stack's outputs: `pulumi stack output`. */
export interface DevelopmentOutputs {
  /** URL of the server. */
  url: string;
  /** The schema's version. Null: unknown. */
  schemaVersion: pulumi.Output<number | null>;
  /** Secret. */
  databaseUrl: pulumi.Output<string>;
  databaseAdminUrl?: pulumi.Output<string>;
}

/**
 * Declares one server, built from the working tree again at every change. No slots, no router, no snapshots, no
 * history.
 */
export async function declare(settings: Settings, opening: Opening): Promise<DevelopmentOutputs> {
  const { name, addresses, source, rules } = settings;
  if (!pulumi.runtime.isDryRun()) await putInOrder(settings, opening, process.env);

  const context = hostContext(settings);
  const onHost = { providers: [dockerProvider(settings, process.env)] };
  const { networkName } = new Network("network", { name, ...settings.network }, onHost);
  const ops = new BundledImage("ops-image", { image: "ops", context });
  const image = new BundledImage("dev-image", { image: "dev", context });
  const database = await declareDatabase(settings, { context, networkName, plan: firstRole }, onHost);
  const databaseNetwork = settings.database.network === "" ? undefined : settings.database.network;

  // The migrations of the working tree, not of a commit: the next run applies a new file.
  const tree: SlotRelease = { version: "dev", source: { kind: "tree", id: migrationsHash(source) } };
  const migration = settings.skipMigrations
    ? undefined
    : new StepComponent(
        "migrate",
        "dev-migration",
        {
          context,
          request: migrateRequest(settings, { network: databaseNetwork ?? networkName, release: tree }),
          secrets: { DATABASE_URL: database.ownerUrl },
        },
        { dependsOn: [ops] },
      );
  const schemaVersion = migration?.result.apply(({ to }) => to) ?? pulumi.output(null);
  new DevelopmentServer(
    "dev-server",
    {
      context,
      imageId: image.imageId,
      networkName,
      address: addresses.blue,
      source,
      listenAddresses: listenAddresses(settings.listenAddress),
      publicPort: settings.ports.http,
      networkVariables: networkVariables(process.env),
      environment: {
        ENVIRONMENT: settings.environment,
        [source.logLevelVariable]: rules.logLevel,
        ...fillInAll(source.environment, deploymentValues(settings)),
      },
      secrets: { ...serverSecrets(settings), DATABASE_URL: database.appUrl },
      databaseNetwork,
      knowsHost: settings.database.mode === "external",
      schemaVersion,
    },
    { ...onHost, dependsOn: migration === undefined ? [ops] : [migration] },
  );
  return {
    url: primaryUrl(settings),
    schemaVersion,
    databaseUrl: database.ownerUrl,
    ...(database.adminUrl === undefined ? {} : { databaseAdminUrl: database.adminUrl }),
  };
}
