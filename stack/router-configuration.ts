import { megabytes } from "../config/schema/memory-size.ts";
import { milliseconds } from "../config/schema/duration.ts";
import type { Settings } from "../config/settings.ts";
import type { RouterConfiguration } from "../components/router.ts";

/** The router's configuration from the settings. */
export function routerConfiguration({
  addresses,
  source,
  ports,
  rules,
  router,
  publicUrl,
  tls,
}: Settings): RouterConfiguration {
  const { trustedProxies: trusted, proxyProtocol } = router;
  const url = publicUrl === "" ? undefined : new URL(publicUrl);
  const publicHttpsPort =
    url?.protocol === "https:" ? Number(url.port || "443") : tls === undefined ? undefined : ports.https;
  return {
    slots: { blue: `${addresses.blue}:${source.port}`, green: `${addresses.green}:${source.port}` },
    ports,
    redirectToHttps: rules.redirectToHttps,
    closedPaths: router.closedPaths,
    proxies: trusted.length === 0 ? undefined : { trusted, proxyProtocol, publicHttpsPort },
    limits: {
      maxBodyMegabytes: megabytes(router.maxBodySize),
      readSeconds: milliseconds(router.serverTimeout) / 1000,
      drainSeconds: milliseconds(router.reloadTimeout) / 1000,
      bodySeconds: milliseconds(router.clientTimeout) / 1000,
      idleSeconds: milliseconds(router.idleTimeout) / 1000,
    },
  };
}
