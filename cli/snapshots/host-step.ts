/** Runs a step of `ops` from a command, in the same way as Pulumi does. */
import { networkName } from "../../ops/contract/names.ts";
import { onLines } from "../../ops/host/lines.ts";
import { CONTRACT_VERSION, type OwnRequest, type StepName, type StepResult } from "../../ops/contract/steps.ts";
import { errorText } from "../deploy/ending.ts";
import type { PulumiStack } from "../deploy/pulumi-stack.ts";
import { stepCommand } from "../deploy/step-command.ts";
import { Failure } from "../failure.ts";
import { invocation, type Output } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

type Own<S extends StepName> = Omit<OwnRequest<S>, "network">;

/** Secrets by environment variable. */
export type DatabaseSecrets = Record<"DATABASE_URL", string> &
  Partial<Record<"DATABASE_ADMIN_URL" | "SNAPSHOT_IDENTITY", string>>;

/**
 * A stack's database connection, from its own outputs.
 * @throws {Failure} before its first deployment.
 */
export async function databaseSecrets(
  pulumi: PulumiStack,
): Promise<{ secrets: DatabaseSecrets; schemaVersions: Partial<Record<"blue" | "green", number | null>> }> {
  const { databaseUrl, databaseAdminUrl, snapshotIdentity, schemaVersions = {} } = await pulumi.secretOutputs();
  if (databaseUrl === undefined)
    throw new Failure(
      "config",
      `the stack ${pulumi.name} has no database yet, or was deployed by an older version of this project`,
      invocation(`up --stack ${pulumi.name}`),
    );
  return {
    secrets: {
      DATABASE_URL: databaseUrl,
      ...(databaseAdminUrl === undefined ? {} : { DATABASE_ADMIN_URL: databaseAdminUrl }),
      ...(snapshotIdentity === undefined ? {} : { SNAPSHOT_IDENTITY: snapshotIdentity }),
    },
    schemaVersions,
  };
}

/**
 * Runs a step to its end and shows its progress.
 * @throws {Failure} with the step's error message.
 */
export async function runHostStep<S extends StepName>(
  step: S,
  own: Own<S>,
  about: {
    settings: PlainSettings;
    secrets: Readonly<Record<string, string>>;
    output: Output;
    signal?: AbortSignal | undefined;
    network?: string;
  },
): Promise<StepResult<S>> {
  const { settings, secrets, output, signal } = about;
  const { name, environment, stateLocation, logLocation, host, database } = settings;
  // An external database may have another network.
  const network = about.network ?? (database.network === "" ? networkName(name) : database.network);
  const request = { contract: CONTRACT_VERSION, name, environment, stateLocation, logLocation, network, ...own };
  const { args, options } = stepCommand(step, request, host, secrets);
  // Loaded here: most commands never need it.
  const { execa } = await import("execa");
  const child = execa(process.execPath, args, {
    ...options,
    buffer: { stderr: false },
    // Ctrl-C reaches only this process, which passes it on once.
    detached: true,
  });
  const interrupt = (): void => {
    child.kill("SIGINT");
  };
  signal?.addEventListener("abort", interrupt, { once: true });
  if (signal?.aborted === true) interrupt();
  const said: string[] = [];
  const reading = onLines(child.stderr, (line) => {
    said.push(line);
    if (/^\d\d:\d\d:\d\d (INFO|WARN|SUCCESS) /.test(line)) output.say(`  ${line}`);
  });
  const { exitCode, stdout } = await child;
  await reading;
  signal?.removeEventListener("abort", interrupt);
  if (exitCode === 0) return JSON.parse(stdout) as StepResult<S>;
  if (signal?.aborted === true || exitCode === 130)
    throw new Failure(
      "interrupted",
      `the step ${step} was interrupted. Run the same command again: it begins anew, and clears up what is left`,
    );
  throw new Failure("restore", errorText(said) || `the step ${step} ended with ${exitCode ?? "a signal"}`);
}
