import { containerName as nameOf, labels } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { megabytes } from "../config/schema/memory-size.ts";
import type { StackSettings } from "../config/schema/stack-settings.ts";
import type { SlotName, StepRequest, StepResult } from "../ops/contract/steps.ts";
import { containerLabels, containerLogging, type HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { declareStep, type StepArgs } from "./step.ts";

export interface SlotArgs {
  context: HostContext;
  slot: SlotName;
  release: SlotRelease;
  imageId: pulumi.Input<string>;
  networkName: pulumi.Input<string>;
  /** Fixed address in the private network. */
  address: string;
  /** Port on which the server listens in its container. */
  port: number;
  /** Port on the host's loopback, for people. */
  loopbackPort: number;
  /** Plain environment of the server. */
  environment: Record<string, string>;
  /** Writable paths. */
  container: StackSettings["source"]["container"];
  /** Variable with the server's port. */
  portVariable: string;
  /** Secret environment of the server. */
  secrets: Record<string, pulumi.Output<string>>;
  /** DATABASE_URL with which the gate checks the schema. Secret. */
  gateDatabaseUrl: pulumi.Output<string>;
  /** Network of an external database. Undefined: the private network leads to it. */
  databaseNetwork: string | undefined;
  /** Whether the server can use host.docker.internal as the Docker host's name. */
  knowsHost: boolean;
  healthPath: string;
  /** Lowest schema version that the release needs. Null: unknown. */
  expectedMigration: pulumi.Input<number | null>;
  gate: { retries: number; intervalSeconds: number; graceSeconds: number };
  /** The gate's action for a stopped container. */
  whenStopped: StepRequest<"gate">["whenStopped"];
  /**
   * The slot takes requests at this moment. Its container then stays as it is, whatever else changes (a rotated secret,
   * another log level): replacing it would be an outage. The change reaches it when it is idle.
   */
  serving: boolean;
  /** The state of its container, where it should run and did not: it is gated again then. */
  found: string | undefined;
}

/** Writable paths of a server: in memory, with mount options. */
export function serverTmpfs({ tmpSize, home }: SlotArgs["container"]): Record<string, string> {
  return {
    "/tmp": `rw,noexec,nosuid,size=${tmpSize}`,
    // Unlike that of /tmp, the mode of a home in the image allows only its user, and the new mount would be root's.
    ...(home === undefined ? {} : { [home]: `rw,noexec,nosuid,mode=1777,size=${tmpSize}` }),
  };
}

/** The non-secret environment of a server. */
export function plainEnvironment({
  environment,
  slot,
  portVariable,
  port,
}: Pick<SlotArgs, "environment" | "slot" | "portVariable" | "port">): Record<string, string> {
  return { ...environment, SLOT: slot, [portVariable]: String(port) };
}

/** Seconds between SIGTERM and SIGKILL: the server drains for 30 s. */
const stopSeconds = 40;

/** Inputs of a container that takes requests: see `SlotArgs.serving`. */
const heldWhileServing = [
  "image",
  "envs",
  "labels",
  "networksAdvanced",
  "hosts",
  "ports",
  "tmpfs",
  "shmSize",
  "capabilities",
  "securityOpts",
  "logOpts",
];

/** The container of a slot's release. */
function declareContainer(
  name: string,
  args: SlotArgs,
  parent: pulumi.Resource,
  dependsOn: pulumi.ComponentResourceOptions["dependsOn"],
): docker.Container {
  const { common } = args.context;
  return new docker.Container(
    `${name}-container`,
    {
      name: nameOf(common.name, args.slot),
      image: args.imageId,
      labels: [
        ...containerLabels(common.name, args.slot),
        // Labels that the next run reads, should this slot serve then.
        { label: labels.version, value: args.release.version },
        { label: labels.commit, value: plainRelease(args.release).commit },
        { label: labels.port, value: String(args.port) },
      ],
      envs: [
        ...Object.entries(plainEnvironment(args)).map(([key, value]) => `${key}=${value}`),
        ...Object.entries(args.secrets).map(([key, value]) => pulumi.interpolate`${key}=${value}`),
      ],
      networksAdvanced: [
        { name: args.networkName, ipv4Address: args.address },
        ...(args.databaseNetwork === undefined ? [] : [{ name: args.databaseNetwork }]),
      ],
      ...(args.knowsHost ? { hosts: [{ host: "host.docker.internal", ip: "host-gateway" }] } : {}),
      ports: [{ internal: args.port, external: args.loopbackPort, ip: "127.0.0.1" }],
      restart: "unless-stopped",
      readOnly: true,
      tmpfs: serverTmpfs(args.container),
      ...(args.container.shmSize === undefined ? {} : { shmSize: megabytes(args.container.shmSize) }),
      capabilities: { drops: ["ALL"] },
      securityOpts: ["no-new-privileges:true"],
      init: true,
      stopSignal: "SIGTERM",
      stopTimeout: stopSeconds,
      destroyGraceSeconds: stopSeconds,
      // The gate reports why a server does not stay up; the provider would only remove the container and its log.
      mustRun: false,
      ...containerLogging,
    },
    {
      parent,
      dependsOn,
      deleteBeforeReplace: true,
      ignoreChanges: args.serving ? heldWhileServing : [],
    },
  );
}

/** The gate step of a slot. */
function gateOf(args: SlotArgs, container: docker.Container): StepArgs<"gate"> {
  const containerName = nameOf(args.context.common.name, args.slot);
  return {
    context: args.context,
    request: {
      // The gate asks both the server and the database: it needs a network that has both.
      network: args.databaseNetwork ?? args.networkName,
      slot: args.slot,
      release: plainRelease(args.release),
      containerName,
      containerId: container.id,
      url: `http://${args.databaseNetwork === undefined ? args.address : containerName}:${args.port}`,
      healthPath: args.healthPath,
      ...args.gate,
      expectedMigration: args.expectedMigration,
      whenStopped: args.whenStopped,
    },
    found: args.found,
    secrets: {
      DATABASE_URL: args.gateDatabaseUrl,
      // A failing server may print its secrets: the gate shows its last lines without them.
      SERVER_SECRETS: pulumi.jsonStringify(Object.values(args.secrets)),
    },
  };
}

/** One of the two places for a release: a container, and the gate that it passes before any request reaches it. */
export class Slot extends pulumi.ComponentResource {
  /** The address that the router sends requests to. */
  readonly address: string;
  readonly gate: pulumi.Output<StepResult<"gate">>;
  readonly containerId: pulumi.Output<string>;
  /** The arguments of its gate. */
  readonly gateStep: StepArgs<"gate">;

  constructor(name: string, args: SlotArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Slot", name, {}, opts);
    const container = declareContainer(name, args, this, opts?.dependsOn);
    this.gateStep = gateOf(args, container);
    const gate = declareStep(name, "gate", this.gateStep, { parent: this });
    this.address = `${args.address}:${args.port}`;
    this.containerId = container.id;
    this.gate = gate.result;
    this.registerOutputs({ address: this.address, release: plainRelease(args.release), containerId: container.id });
  }
}
