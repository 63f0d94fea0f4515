import { askDatabase, NoDatabase } from "../../ops/host/database.ts";
import { project } from "../../toolchain/setup.ts";
import { databaseQuestion } from "../doctor/database.ts";
import { examineSettings } from "../doctor/settings.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { PulumiStack } from "./pulumi-stack.ts";

/**
 * golang-migrate's version in the deployment's database. Null: before the first migration. Undefined: unknown. For an
 * external database, Pulumi is asked for the secrets.
 */
export async function schemaVersion(
  settings: PlainSettings,
  pulumi: () => Promise<PulumiStack>,
): Promise<number | null | undefined> {
  const decrypted =
    settings.database.mode === "external"
      ? examineSettings(await (await pulumi()).config(), project).settings
      : undefined;
  const question = databaseQuestion(settings, decrypted);
  if (question === undefined) return undefined;
  return askDatabase(question).then(
    ({ schema }) => schema?.version ?? null,
    // Before the first deployment all migrations are pending.
    (error: unknown) =>
      error instanceof NoDatabase && !error.exists && question.external === undefined ? null : undefined,
  );
}
