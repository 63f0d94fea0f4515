import * as pulumi from "@pulumi/pulumi";
import { loadSettings, type Settings, type SettingsSources } from "./load.ts";
import { SettingsError } from "./problems.ts";

/** The running stack's config under `togather:`, without the prefix. */
function stackConfig(): SettingsSources["config"] {
  const prefix = "togather:";
  return Object.fromEntries(
    Object.entries(pulumi.runtime.allConfig())
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]),
  );
}

/**
 * The running stack's settings. Rules that its environment only warns of are shown as warnings.
 * @throws {pulumi.RunError} with every problem at once, which Pulumi shows without a stack trace.
 */
export function readSettings(): Settings {
  const settings = orRunError(() => loadSettings({ config: stackConfig(), environment: process.env, projectDirectory: process.cwd() }));
  for (const warning of settings.warnings) void pulumi.log.warn(warning);
  return settings;
}

/** Runs a check; what it finds wrong with the settings ends the program the way Pulumi shows without a stack trace. */
export function orRunError<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof SettingsError) throw new pulumi.RunError(error.message);
    throw error;
  }
}
