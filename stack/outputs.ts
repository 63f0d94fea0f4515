import type * as pulumi from "@pulumi/pulumi";
import type { DatabaseUrls } from "../components/database.ts";
import type { StepComponent } from "../components/step.ts";
import { primaryUrl, publicUrl } from "../config/public-url.ts";
import { plainReleases } from "../config/release.ts";
import type { Settings } from "../config/settings.ts";
import { secretOutput } from "./secret-output.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";

/** A blue-green stack's outputs: `pulumi stack output`. */
export interface BlueGreenOutputs {
  /** URL of the router. */
  url: string;
  httpsUrl?: string;
  /** The slot and release that take requests: set only after the switch. */
  serving: pulumi.Output<{ slot: SlotName; release: Release }>;
  activeSlot: pulumi.Output<SlotName>;
  version: pulumi.Output<string>;
  commit: pulumi.Output<string>;
  slots: Partial<Record<SlotName, Release>>;
  /** The schema version that each slot's release needs. Missing for a slot without migrations. */
  schemaVersions: Partial<Record<SlotName, pulumi.Output<number | null>>>;
  deploymentId: pulumi.Output<string>;
  stateFile: pulumi.Output<string>;
  logFile: pulumi.Output<string>;
  /** The database's URL for `togather snapshots`. Secret. */
  databaseUrl: pulumi.Output<string>;
  databaseAdminUrl?: pulumi.Output<string>;
  /** The identity with which `togather snapshots` reads encrypted ones. Secret. */
  snapshotIdentity?: pulumi.Output<string>;
  /** The key with which `togather snapshots` reads copies. Secret. */
  snapshotCopyKeyId?: pulumi.Output<string>;
  snapshotCopySecret?: pulumi.Output<string>;
}

/** The parts of a deployment that the outputs describe. */
interface Made {
  traffic: StepComponent<"switch">;
  /** The release in the slot that is to serve. */
  release: Release;
  record: StepComponent<"record">;
  deploymentId: pulumi.Output<string>;
  database: DatabaseUrls;
  schemaVersions: BlueGreenOutputs["schemaVersions"];
}

/** The outputs of a stack, after all its resources are declared. */
export function blueGreenOutputs(
  settings: Settings,
  { traffic, release, record, deploymentId, database, schemaVersions }: Made,
): BlueGreenOutputs {
  const { tls, slots, snapshotIdentity, deployment } = settings;
  const copyCredentials = deployment.database.snapshot_copy === null ? undefined : settings.snapshotCopyCredentials;
  const serving = traffic.result.apply(({ to }) => ({ slot: to, release }));
  return {
    url: tls === undefined ? primaryUrl(settings) : publicUrl(settings, "http"),
    ...(tls === undefined ? {} : { httpsUrl: publicUrl(settings, "https") }),
    serving,
    activeSlot: serving.apply((now) => now.slot),
    version: serving.apply((now) => now.release.version),
    commit: serving.apply((now) => now.release.commit),
    slots: plainReleases(slots),
    schemaVersions,
    deploymentId,
    stateFile: record.result.apply(({ file }) => file),
    logFile: record.result.apply(({ log }) => log),
    databaseUrl: database.ownerUrl,
    ...(database.adminUrl === undefined ? {} : { databaseAdminUrl: database.adminUrl }),
    ...(snapshotIdentity === undefined ? {} : { snapshotIdentity: secretOutput(snapshotIdentity) }),
    ...(copyCredentials === undefined
      ? {}
      : {
          snapshotCopyKeyId: secretOutput(copyCredentials.keyId),
          snapshotCopySecret: secretOutput(copyCredentials.secret),
        }),
  };
}
