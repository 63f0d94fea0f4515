import type { Settings } from "./settings.ts";
import type { Placeholder } from "./placeholders.ts";
import { primaryUrl } from "./public-url.ts";

/** The deployment's values for placeholders, the same for every release. */
export function deploymentValues(
  settings: Settings,
): Record<Exclude<Placeholder, "slot" | "version" | "commit" | "created">, string> {
  const publicUrl = primaryUrl(settings);
  return {
    publicUrl,
    publicHost: new URL(publicUrl).host,
    subnet: settings.network.subnet,
    routerAddress: settings.addresses.router,
  };
}
