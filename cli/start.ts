// `npm start`: the bundled server, deployed blue-green to this machine's Docker engine.
import { join } from "node:path";
import { Command } from "commander";
import type { SlotName } from "../ops/contract/steps.ts";
import { seconds } from "../ops/contract/units.ts";
import { thisMachine, type Machine } from "../toolchain/machine.ts";
import { fail } from "../toolchain/problem.ts";
import { localSteps, project, setUp } from "../toolchain/setup.ts";
import { freeName } from "./start/free-name.ts";
import { askHealth } from "./start/health.ts";
import { ensureCertificate } from "./start/local-certificate.ts";
import { LocalPulumi } from "./start/local-pulumi.ts";
import { ensureSecrets } from "./start/local-secrets.ts";
import { LocalStackFile, STACK } from "./start/local-stack.ts";
import { findReleaseSource } from "./start/release-source.ts";
import { summary, type Checked } from "./start/summary.ts";

const SECRETS_FILE = ".env.local";
const tlsDirectory = join(project, ".togather", "tls");

/** Secrets and a certificate of this machine's own. Says what was made. */
async function prepareFiles(): Promise<void> {
  const made = ensureSecrets(join(project, SECRETS_FILE));
  if (made.length > 0) console.log(`Made up ${made.join(", ")} in ${SECRETS_FILE}.`);
  if (await ensureCertificate(tlsDirectory)) console.log("Made a self-signed certificate in .togather/tls.");
}

/** Brings the stack file up to date with what is checked out, and says what will be done. */
async function prepareStack(machine: Machine, serving: SlotName | undefined): Promise<LocalStackFile> {
  const source = await findReleaseSource(project);
  if (source.warning) console.log(`Note: ${source.warning}`);
  const stackFile = new LocalStackFile(project);
  await stackFile.fillIn(project, stackFile.isNew ? await freeName(STACK, machine.env) : STACK);
  const released = await stackFile.release(source, serving);
  const slot = stackFile.activeSlot;
  const version = stackFile.slots[slot]?.version ?? "nothing";
  if (released) console.log(`Releasing ${version} into slot ${slot}.`);
  else if (slot === serving) console.log(`No new release: slot ${slot} serves ${version}.`);
  else console.log(`Bringing slot ${slot} with ${version} into service.`);
  return stackFile;
}

async function check(url: string): Promise<Checked> {
  try {
    const { status, version } = await askHealth(url, join(tlsDirectory, "certificate.pem"));
    return { url, answer: `${status}${version ? `, version ${version}` : ""}`, healthy: status !== "unhealthy" };
  } catch (error) {
    return { url, answer: error instanceof Error ? error.message : String(error), healthy: false };
  }
}

async function start({ dryRun }: { dryRun: boolean }): Promise<number> {
  const begin = Date.now();
  const machine = thisMachine();
  await setUp(localSteps(machine));
  const pulumi = await LocalPulumi.open();
  await prepareFiles();
  const { activeSlot: serving } = await pulumi.outputs();
  const stackFile = await prepareStack(machine, serving);
  if (dryRun) {
    // The stack file itself changes only with the deployment.
    const copy = join(project, ".togather", `preview.${STACK}.yaml`);
    stackFile.save(copy);
    return pulumi.show("preview", "--config-file", copy);
  }
  stackFile.save();
  const code = await pulumi.show("up", "--yes", "--skip-preview", "--suppress-outputs");
  if (code !== 0) {
    const still = serving ? `slot ${serving} still serves` : "nothing serves yet";
    console.error(
      `\nThe deployment failed; ${still}. The reason is above, its details are in .togather/log/deployments.`,
    );
    return code;
  }
  const outputs = await pulumi.outputs();
  const urls = [outputs.url, outputs.httpsUrl].filter((url) => url !== undefined);
  const checked = await Promise.all(urls.map(check));
  console.log(`\n${summary(outputs, checked, project)}\n\nDone in ${seconds(Date.now() - begin)}.`);
  return checked.every(({ healthy }) => healthy) ? 0 : 1;
}

const program = new Command("npm start --")
  .description(
    "Deploys the checked-out commit of the bundled server blue-green to this machine's Docker engine, after setting up what that needs.",
  )
  .option("--dry-run", "show what would change, and change nothing", false)
  .addHelpText(
    "after",
    "\nState, logs, backups and the certificate are kept in .togather/, secrets in .env.local, settings in Pulumi.local.yaml.",
  );

try {
  program.parse();
  process.exitCode = await start(program.opts());
} catch (error) {
  fail(error);
}
