import type { Settings } from "./settings.ts";
import type { Placeholder } from "./placeholders.ts";
import { primaryUrl } from "./public-url.ts";

/** What the deployment knows of itself, whatever release it is about: values of placeholders. */
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
