import type { DeploymentFile } from "./deployment-file.ts";
import type { EnvironmentRules } from "./environments.ts";

type Database = DeploymentFile["database"];

/** The treatment of a snapshot: proof, rehearsal, encryption, copies. */
export interface SnapshotRules {
  verify: Exclude<Database["snapshot_verify"], "auto">;
  rehearse: Exclude<Database["migration_rehearsal"], "auto">;
  servingCheck: Exclude<Database["serving_release_check"], "auto">;
}

/** The values of deployment.yml, or those of the environment where it says `auto`. */
export function snapshotRules(
  { snapshot_verify: verify, migration_rehearsal: rehearse, serving_release_check: servingCheck }: Database,
  rules: EnvironmentRules,
): SnapshotRules {
  return {
    verify: verify === "auto" ? rules.snapshotVerify : verify,
    rehearse: rehearse === "auto" ? rules.migrationRehearsal : rehearse,
    servingCheck: servingCheck === "auto" ? rules.servingReleaseCheck : servingCheck,
  };
}
