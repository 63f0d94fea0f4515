import { containerName as nameOf, volumeName } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { StackSettings } from "../config/schema/stack-settings.ts";
import { sourceMounts, sourceRoot } from "../config/working-tree.ts";
import { containerLabels, containerLogging, type HostContext } from "./host.ts";
import { declareStep } from "./step.ts";

export interface DevelopmentServerArgs {
  context: HostContext;
  /** Image with the Go toolchain and air. */
  imageId: pulumi.Input<string>;
  networkName: pulumi.Input<string>;
  /** Fixed address in the private network. */
  address: string;
  source: StackSettings["source"];
  listenAddresses: readonly string[];
  /** Port on which people reach the server. */
  publicPort: number;
  /** Plain environment of the server. */
  environment: Record<string, string>;
  /** Secret environment of the server. */
  secrets: Record<string, pulumi.Output<string>>;
  /** Network of an external database. Undefined: the private network leads to it. */
  databaseNetwork: string | undefined;
  /** Variables that a build needs to reach the network. */
  networkVariables: Record<string, string>;
  /** Whether the server can use host.docker.internal as the Docker host's name. */
  knowsHost: boolean;
  /** The current schema version. Null: unknown. */
  schemaVersion: pulumi.Input<number | null>;
}

/** Time limit of the first build, in seconds: it downloads and compiles every module. */
const timeoutSeconds = 900;
/** Seconds: air's own time for the server to end, and some more. */
const stopSeconds = 10;

/** A word quoted for a shell's command line. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * The server of the development environment: air in a container, which builds the mounted source and runs it, again at
 * every change.
 */
export class DevelopmentServer extends pulumi.ComponentResource {
  constructor(name: string, args: DevelopmentServerArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:DevelopmentServer", name, {}, opts);
    const { source, context } = args;
    const { common } = context;
    const containerName = nameOf(common.name, "dev");
    const cache = new docker.Volume(
      `${name}-cache`,
      { name: volumeName(common.name, "dev"), labels: containerLabels(common.name, "dev") },
      { parent: this },
    );
    const plain = Object.entries({
      ...args.networkVariables,
      ...args.environment,
      [source.portVariable]: String(source.port),
    });
    const container = new docker.Container(
      `${name}-container`,
      {
        name: containerName,
        image: args.imageId,
        labels: containerLabels(common.name, "dev"),
        envs: [
          ...plain.map(([key, value]) => `${key}=${value}`),
          ...Object.entries(args.secrets).map(([key, value]) => pulumi.interpolate`${key}=${value}`),
        ],
        workingDir: `${sourceRoot}/${source.module}`.replace(/\/\.?$/, ""),
        command: [
          "--build.cmd",
          `go build -o /tmp/air/server ${quoted(source.package)}`,
          "--",
          ...source.arguments.map(quoted),
        ],
        volumes: [
          ...sourceMounts(source).map(({ hostPath, containerPath }) => ({ hostPath, containerPath, readOnly: true })),
          { volumeName: cache.name, containerPath: "/cache" },
        ],
        networksAdvanced: [
          { name: args.networkName, ipv4Address: args.address },
          ...(args.databaseNetwork === undefined ? [] : [{ name: args.databaseNetwork }]),
        ],
        ...(args.knowsHost ? { hosts: [{ host: "host.docker.internal", ip: "host-gateway" }] } : {}),
        ports: args.listenAddresses.map((ip) => ({ internal: source.port, external: args.publicPort, ip })),
        restart: "unless-stopped",
        securityOpts: ["no-new-privileges:true"],
        init: true,
        stopTimeout: stopSeconds,
        destroyGraceSeconds: stopSeconds,
        // The step below reports why a server does not come up, and air goes on watching.
        mustRun: false,
        ...containerLogging,
      },
      { parent: this, dependsOn: opts?.dependsOn, deleteBeforeReplace: true },
    );
    declareStep(
      name,
      "develop",
      {
        context,
        request: {
          containerName,
          containerId: container.id,
          port: source.port,
          healthPath: source.healthPath,
          schemaVersion: args.schemaVersion,
          timeoutSeconds,
        },
        // A failing server may print its secrets: its last lines are shown without them.
        secrets: { SERVER_SECRETS: pulumi.jsonStringify(Object.values(args.secrets)) },
      },
      { parent: this },
    );
    this.registerOutputs({ containerId: container.id });
  }
}
