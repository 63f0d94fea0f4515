import * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/settings.ts";
import { noteInLog } from "../ops/host/deployment-log.ts";
import type { HostContext } from "../components/host.ts";
import { hasEngine } from "./host-lock.ts";

/** The checks that an operator has switched off, in words for the log. */
export function overridesIn({ force, skipMigrations }: Pick<Settings, "force" | "skipMigrations">): string[] {
  return [
    ...(force
      ? ["--force (togather:force): neither a lock that somebody else holds nor the slot that serves stops it"]
      : []),
    ...(skipMigrations ? ["--skip-migrations (togather:skipMigrations): no snapshot, no migrations"] : []),
  ];
}

/**
 * Writes the overrides into the deployment's own log, whoever deploys with whatever command. They are no input of a
 * step, which would run it again whenever an override comes or goes.
 */
export function noteOverrides(
  settings: Pick<Settings, "host" | "force" | "skipMigrations">,
  { logLocation }: HostContext["directories"],
  deploymentId: pulumi.Output<string>,
): void {
  const overrides = overridesIn(settings);
  if (overrides.length === 0 || pulumi.runtime.isDryRun() || !hasEngine()) return;
  deploymentId.apply(async (id) => {
    try {
      await noteInLog({
        host: settings.host,
        logLocation,
        deploymentId: id,
        message: `this deployment was run with ${overrides.join("; and with ")}`,
      });
    } catch (error) {
      void pulumi.log.warn(
        `that this run uses ${overrides.join("; ")} could not be written to its log: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  });
}
