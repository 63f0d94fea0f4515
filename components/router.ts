import { containerName as nameOf, volumeName } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { SlotName } from "../ops/contract/steps.ts";
import { containerLabels, containerLogging, type HostContext } from "./host.ts";
import { internalPort, renderNginxFiles, type TrustedProxies } from "./nginx/config.ts";
import { declareStep } from "./step.ts";

/** The settings of the router's configuration. */
export interface RouterConfiguration {
  /** Both slots' addresses, host:port, also of an empty slot. */
  slots: Record<SlotName, string>;
  ports: { http: number; https: number };
  /** With TLS, plain HTTP is redirected to HTTPS. */
  redirectToHttps: boolean;
  /** Paths that the router itself answers with 404, with everything below them. */
  closedPaths: readonly string[];
  /** Proxies before the router. Undefined: visitors reach it directly. */
  proxies: (Omit<TrustedProxies, "publicHttpsPort"> & { publicHttpsPort: number | undefined }) | undefined;
  /**
   * Limits: the largest body in MB; silence of server and client, and idle connections, in seconds; time of old workers
   * after a reload in seconds.
   */
  limits: {
    maxBodyMegabytes: number;
    readSeconds: number;
    bodySeconds: number;
    idleSeconds: number;
    drainSeconds: number;
  };
}

export interface RouterArgs extends RouterConfiguration {
  context: HostContext;
  imageId: pulumi.Input<string>;
  networkName: pulumi.Input<string>;
  /** Fixed address in the private network. */
  address: string;
  /** Addresses of the host. */
  listenAddresses: readonly string[];
  /** PEM texts. Undefined: plain HTTP only. */
  tls: { certificate: string; key: pulumi.Output<string> } | undefined;
}

/** The files of its configuration, without the certificate. */
export function routerFiles(
  name: string,
  tls: boolean,
  { slots, ports, closedPaths, proxies, redirectToHttps, limits }: RouterConfiguration,
): Record<string, string> {
  return renderNginxFiles({
    slots,
    name,
    tls,
    closedPaths,
    proxies: proxies && { ...proxies, publicHttpsPort: proxies.publicHttpsPort ?? 443 },
    redirectToHttpsPort: redirectToHttps
      ? proxies === undefined
        ? tls
          ? ports.https
          : undefined
        : proxies.publicHttpsPort
      : undefined,
    ...limits,
  });
}

/** Ports on which nginx listens in its container. */
const httpPort = 8080;
const httpsPort = 8443;

/** nginx in front of both slots. It chooses the slot for each request: see `Switch`. */
export class Router extends pulumi.ComponentResource {
  readonly containerId: pulumi.Output<string>;
  readonly volumeName: pulumi.Output<string>;
  /** Base URL in the private network. */
  readonly url: string;

  constructor(name: string, args: RouterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Router", name, {}, opts);
    const { context } = args;
    const { common } = context;
    const containerName = nameOf(common.name, "router");
    const volume = new docker.Volume(
      `${name}-files`,
      { name: volumeName(common.name, "router"), labels: containerLabels(common.name, "router") },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    const files = declareStep(
      name,
      "router",
      {
        context,
        request: {
          image: args.imageId,
          volume: volume.name,
          containerName,
          files: routerFiles(common.name, args.tls !== undefined, args),
        },
        secrets: args.tls === undefined ? {} : { TLS_CERTIFICATE: args.tls.certificate, TLS_KEY: args.tls.key },
      },
      { parent: this },
    );
    const container = new docker.Container(
      `${name}-container`,
      {
        name: containerName,
        image: args.imageId,
        labels: containerLabels(common.name, "router"),
        volumes: [{ volumeName: volume.name, containerPath: "/router" }],
        networksAdvanced: [{ name: args.networkName, ipv4Address: args.address }],
        ports: [
          [httpPort, args.ports.http] as const,
          ...(args.tls === undefined ? [] : [[httpsPort, args.ports.https] as const]),
        ].flatMap(([internal, external]) => args.listenAddresses.map((ip) => ({ internal, external, ip }))),
        restart: "unless-stopped",
        securityOpts: ["no-new-privileges:true"],
        // nginx's graceful quit lets open requests end.
        stopSignal: "SIGQUIT",
        stopTimeout: 40,
        destroyGraceSeconds: 40,
        ...containerLogging,
      },
      { parent: this, deleteBeforeReplace: true, dependsOn: [files.command] },
    );
    this.containerId = container.id;
    this.volumeName = volume.name;
    // The internal port, where the public one needs a proxy's header, or HTTPS that the router does not serve itself.
    const { proxies } = args;
    const isInternal = proxies !== undefined && (proxies.proxyProtocol || args.tls === undefined);
    this.url = `http://${args.address}:${isInternal ? internalPort : httpPort}`;
    this.registerOutputs({ url: this.url, containerId: this.containerId });
  }
}
