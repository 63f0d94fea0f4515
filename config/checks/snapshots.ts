import type { Problem } from "../problems.ts";
import type { DeploymentFile } from "../schema/deployment-file.ts";
import type { EnvironmentRules } from "../schema/environments.ts";
import { snapshotRules } from "../schema/snapshot-rules.ts";
import type { OwnSecret } from "../secrets/secrets.ts";
import { errors, type Check } from "./check.ts";

/** Contradictions in the encryption of snapshots. */
function encryptionProblems(
  { database }: DeploymentFile,
  rules: EnvironmentRules,
  identity: OwnSecret | undefined,
): Problem[] {
  const problems: Problem[] = [];
  if (identity !== undefined && !/^AGE-SECRET-KEY-1[0-9A-Z]{58}$/.test(identity.value)) {
    problems.push({
      where: identity.from,
      what: "is not a secret key of age, expected AGE-SECRET-KEY-1 and 58 letters and digits",
      fix: "age-keygen prints one, and the public key for database.snapshot_recipients",
    });
  }
  if (database.snapshot_recipients.length === 0) return problems;
  if (database.snapshot_format === "directory") {
    problems.push({
      where: "database.snapshot_recipients",
      what: "snapshots in the format directory can't be encrypted",
      fix: "database.snapshot_format: sql.zst",
    });
  }
  const { verify, rehearse } = snapshotRules(database, rules);
  if (identity === undefined && [verify, rehearse].includes("required")) {
    problems.push({
      where: "togather:snapshotIdentity",
      what: "is missing: snapshots are encrypted (database.snapshot_recipients), and have to be restored to be proved",
      fix: 'pulumi config set --secret togather:snapshotIdentity "AGE-SECRET-KEY-1…", or database.snapshot_verify and database.migration_rehearsal when-possible, which then only compare checksums',
    });
  }
  return problems;
}

/** The encryption of snapshots. */
export const checkSnapshots: Check = ({ deployment, rules, secrets }) =>
  deployment === undefined ? [] : errors(encryptionProblems(deployment, rules, secrets.snapshotIdentity));
