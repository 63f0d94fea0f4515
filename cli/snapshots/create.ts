/** A snapshot that a person takes between releases: taken, proved and copied like a release's own. */
import { basename } from "node:path/posix";
import type { StepResult } from "../../ops/contract/steps.ts";
import type { DeployContext } from "../context.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import { copySnapshot } from "./copies.ts";
import { withHostLock } from "./host-lock.ts";
import { databaseSecrets, runHostStep } from "./host-step.ts";

export interface Created extends StepResult<"snapshot"> {
  /** Undefined: `database.snapshot_verify` is `never`. */
  proof: StepResult<"verify"> | undefined;
  /** Undefined: `database.snapshot_copy` is not set. */
  copy: StepResult<"copy"> | undefined;
}

/** Default reason of such a snapshot. */
export const byHand = "by hand";

/**
 * Takes, proves and copies it.
 * @throws {Failure} with the failed part; completed parts stay.
 */
export async function createSnapshot(context: DeployContext, reason: string): Promise<Created> {
  const { file, settings, before, output, pulumi } = context;
  const { backupLocation, snapshots, verify, snapshotCopy } = settings;
  const on = `--stack ${file.stack}`;
  if (before.serving === undefined)
    throw new Failure(
      "config",
      `nothing serves in ${file.stack} yet: there is nothing to take a snapshot of`,
      invocation(`release ${on}`),
    );
  const { release } = before.serving;
  const { secrets } = await databaseSecrets(pulumi);
  const { DATABASE_URL } = secrets;
  return withHostLock(
    { settings, stack: file.stack, before, output, force: false, why: "snapshot" },
    async (signal) => {
      const about = { settings, output, signal };
      const taken = await ofSnapshot("No snapshot was taken", () =>
        runHostStep(
          "snapshot",
          { backupLocation, ...snapshots, release, reason },
          { ...about, secrets: { DATABASE_URL } },
        ),
      );
      const { sha256 } = taken;
      const name = basename(taken.file);
      const stays = `${name} is taken, and in ${invocation(`snapshots list ${on}`)}`;
      const proof =
        verify === "never"
          ? undefined
          : await ofSnapshot(`${stays}, but is not proved`, () =>
              runHostStep(
                "verify",
                { backupLocation, file: name, foreign: false, sha256, required: verify === "required" },
                { ...about, secrets },
              ),
            );
      const copy =
        snapshotCopy === null
          ? undefined
          : await ofSnapshot(`${stays}, but is not copied`, () =>
              copySnapshot(context, { file: name, sha256 }, signal),
            );
      return { ...taken, proof, copy };
    },
  );
}

/**
 * A failed step here has the same exit code as a release's failed snapshot.
 * @param what the state at that point, as a sentence.
 */
async function ofSnapshot<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof Failure) || error.ending !== "restore") throw error;
    throw new Failure("snapshot", `${error.message}\n${what}.`, error.fix);
  }
}
