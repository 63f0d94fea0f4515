import { loadSettings, type Settings, type SettingsSources } from "./settings.ts";
import { forStack } from "./problems.ts";
import { allConfig, getStack, log } from "./pulumi-runtime.ts";
import { orRunError } from "./run-error.ts";

/** The running stack's config under `togather:`, without the prefix. */
function stackConfig(): SettingsSources["config"] {
  const prefix = "togather:";
  return Object.fromEntries(
    Object.entries(allConfig())
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]),
  );
}

/** The keys that Pulumi keeps encrypted, as the CLI tells the program. */
function encryptedKeys(): SettingsSources["encryptedKeys"] {
  const told = process.env["PULUMI_CONFIG_SECRET_KEYS"];
  if (told === undefined) return undefined;
  return new Set((JSON.parse(told) as string[]).map((key) => key.slice(key.indexOf(":") + 1)));
}

/**
 * The running stack's settings. Broken rules that its environment only warns of are shown as warnings.
 * @throws {RunError} with every problem at once, which Pulumi shows without a stack trace.
 */
export function readSettings(): Settings {
  const settings = orRunError(() =>
    loadSettings({
      config: stackConfig(),
      encryptedKeys: encryptedKeys(),
      environment: process.env,
      projectDirectory: process.cwd(),
    }),
  );
  for (const warning of settings.warnings) void log.warn(forStack(warning, getStack()));
  return settings;
}
