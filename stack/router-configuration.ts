import { megabytes } from "../config/schema/memory-size.ts";
import { milliseconds } from "../config/schema/duration.ts";
import type { Settings } from "../config/settings.ts";
import type { RouterConfiguration } from "../components/router.ts";

/** What the settings want of the router's configuration. */
export function routerConfiguration({ addresses, source, ports, rules, router }: Settings): RouterConfiguration {
  return {
    slots: { blue: `${addresses.blue}:${source.port}`, green: `${addresses.green}:${source.port}` },
    ports,
    redirectToHttps: rules.redirectToHttps,
    closedPaths: router.closedPaths,
    limits: {
      maxBodyMegabytes: megabytes(router.maxBodySize),
      readSeconds: milliseconds(router.serverTimeout) / 1000,
      drainSeconds: milliseconds(router.reloadTimeout) / 1000,
      bodySeconds: milliseconds(router.clientTimeout) / 1000,
    },
  };
}
