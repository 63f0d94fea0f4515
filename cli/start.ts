// `npm start`: the bundled server, deployed blue-green to this machine's Docker engine.
import { join } from "node:path";
import { Command } from "commander";
import { seconds } from "../ops/contract/units.ts";
import { thisMachine, type Machine } from "../toolchain/machine.ts";
import { localSteps, project, setUp } from "../toolchain/setup.ts";
import { outliveReaders } from "./closed-pipe.ts";
import { deployContext, ready } from "./context.ts";
import { deploy } from "./deploy/deploy.ts";
import { longOptions, refuseTakenOptions } from "./npm-options.ts";
import { showError } from "./show-error.ts";
import { freeName } from "./start/free-name.ts";
import { askHealth } from "./start/health.ts";
import { ensureCertificate } from "./start/local-certificate.ts";
import { ensureSecrets } from "./start/local-secrets.ts";
import { LocalStackFile, putIntoIdleSlot, STACK } from "./start/local-stack.ts";
import { findReleaseSource } from "./start/release-source.ts";
import { summary, type Checked } from "./start/summary.ts";

const SECRETS_FILE = ".env.local";
const tlsDirectory = join(project, ".togather", "tls");

/** Creates this machine's own secrets and certificate. Reports what it created. */
async function prepareFiles(): Promise<void> {
  const made = ensureSecrets(join(project, SECRETS_FILE));
  if (made.length > 0) console.log(`Made up ${made.join(", ")} in ${SECRETS_FILE}.`);
  if (await ensureCertificate(tlsDirectory)) console.log("Made a self-signed certificate in .togather/tls.");
}

/** Sets values that the stack file doesn't have yet. */
async function prepareStackFile(machine: Machine): Promise<void> {
  const stackFile = new LocalStackFile(project);
  const { isNew } = stackFile;
  await stackFile.fillIn(project, isNew ? await freeName(STACK, machine.env) : STACK);
  stackFile.save();
  if (isNew) console.log(`Wrote the settings into Pulumi.${STACK}.yaml.`);
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
  await prepareFiles();
  await prepareStackFile(machine);
  const source = await findReleaseSource(project);
  if (source.warning) console.log(`Note: ${source.warning}`);
  // From here on it is like every release.
  const options = { stack: STACK, dryRun };
  const context = await ready(await deployContext(options), options);
  const { file, pulumi, before } = context;
  const released = await putIntoIdleSlot(file, source, before.serving?.slot);
  if (released !== undefined && !dryRun) file.save();
  const code = await deploy({ ...context, now: context.looked, dryRun, skipMigrations: false, force: false });
  if (code !== 0 || dryRun) return code;
  const outputs = await pulumi.outputs();
  const urls = [outputs?.url, outputs?.httpsUrl].filter((url) => url !== undefined);
  const checked = await Promise.all(urls.map(check));
  console.log(`\n${summary(outputs ?? {}, checked, project)}\n\nDone in ${seconds(Date.now() - begin)}.`);
  return checked.every(({ healthy }) => healthy) ? 0 : 1;
}

outliveReaders();

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
  refuseTakenOptions("start", longOptions(program));
  process.exitCode = await start(program.opts());
} catch (error) {
  process.exitCode = showError(error, false);
}
