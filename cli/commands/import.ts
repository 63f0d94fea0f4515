import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { containerName } from "../../ops/contract/names.ts";
import { slotNames } from "../../ops/contract/steps.ts";
import { unknownParts } from "../../ops/host/half-made.ts";
import { readInterruptedState, type InterruptedState } from "../../ops/host/pending-operations.ts";
import { lookAtHost, servingSlot } from "../../ops/host/serving-slot.ts";
import type { Before } from "../../config/plan.ts";
import { deployContext, withCommonOptions, type CommonOptions, type DeployContext } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import { lookForImport } from "../deploy/import-look.ts";
import { knownThings, namesOf, plannedCreations, withImported } from "../deploy/import-state.ts";
import { Failure } from "../failure.ts";
import { isDevelopment } from "../development/refuse.ts";
import { exitCodes } from "../exit-codes.ts";
import { withHostLock } from "../snapshots/host-lock.ts";
import { StackFile } from "../stack-file.ts";

interface ImportOptions extends CommonOptions {
  dryRun?: boolean;
}

/** The stack of the context; created again where its backend has lost it. */
async function found(context: DeployContext): Promise<DeployContext> {
  if (context.exists) return context;
  await context.pulumi.createEmpty();
  context.output.say(`Made the stack ${context.file.stack} in Pulumi's backend, which had none of that name.`);
  const file = StackFile.open(project, context.file.stack);
  return { ...context, exists: true, file, settings: file.settings() };
}

/** The slot that serves and the releases in the slots, from the host: a lost state has neither. */
async function beforeByHost({ settings, before }: DeployContext): Promise<Before> {
  if (isDevelopment(settings)) return before;
  const now = await servingSlot(settings.name, settings.host);
  return now === undefined
    ? before
    : { serving: { slot: now.slot, release: now.release }, slots: now.held ?? {}, served: now.served };
}

/**
 * Refuses a host with a slot's container for which the stack file has no release: no deployment could begin.
 * @param state the future state.
 */
async function refuseUnwanted({ file, settings }: DeployContext, state: InterruptedState): Promise<void> {
  const { name, host } = settings;
  const { ids, router } = await lookAtHost(name, host);
  const unknown = unknownParts(name, ids, state);
  const slot = slotNames.find((one) => unknown.includes(one));
  if (slot === undefined) return;
  const container = containerName(name, slot);
  throw new Failure(
    "config",
    `${container} is on the Docker host, and ${file.name} has no release for ${slot}. Nothing was changed`,
    router?.slot === slot
      ? `it serves: put its release into togather:slots.${slot}`
      : `put its release into togather:slots.${slot}; or, since it does not serve: ${host === "" ? "" : `DOCKER_HOST=${host} `}docker rm --force ${container}`,
  );
}

export function importCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("import"))
    .summary("import running containers into Pulumi's state, after it was lost")
    .description(
      "After Pulumi's state was lost, or put back from an older copy: takes the containers, the network, the database and its roles that run on the Docker host into the state, and deploys what the stack file says. No running container is replaced or stopped for it; differences from the file are changed as in any `up`.",
    )
    .option("--dry-run", "say what would be taken into the state, and change nothing")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<ImportOptions>();
      const context = await found(await deployContext(options));
      const { file, settings, pulumi, output } = context;
      const before = await beforeByHost(context);
      const why = "import";
      end(
        await withHostLock(
          { settings, stack: file.stack, before, output, force: false, why },
          async (signal, lock): Promise<number> => {
            const exported = (await pulumi.exported()) ?? "";
            const planned = plannedCreations(await pulumi.plan());
            const names = namesOf([...planned, ...knownThings(exported)]);
            const { state, urns, what } = withImported(exported, planned, await lookForImport(settings, names));
            await refuseUnwanted(context, readInterruptedState(state));
            if (what.length === 0 || options.dryRun === true) {
              output.result({ ok: true, dryRun: options.dryRun === true, imported: what }, () =>
                what.length === 0
                  ? `Nothing to take in: Pulumi's state of ${file.stack} knows all that runs. Nothing was changed.`
                  : `Would take into Pulumi's state: ${what.join(", ")}. Nothing was changed.`,
              );
              return exitCodes.ok.code;
            }
            signal.throwIfAborted();
            await pulumi.writeState(state);
            await pulumi.refresh(urns);
            output.say(`Taken into Pulumi's state: ${what.join(", ")}.`);
            return deploy({
              ...context,
              before,
              dryRun: false,
              skipMigrations: false,
              force: false,
              within: { lock, signal },
            });
          },
        ),
      );
    });
}
