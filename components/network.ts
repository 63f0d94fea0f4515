import { networkName } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { containerLabels } from "./host.ts";

export interface NetworkArgs {
  /** The deployment's name. */
  name: string;
  /** IPv4 /24. */
  subnet: string;
  /** The part of it from which Docker takes addresses for containers without a fixed one. */
  dynamicRange: string;
  gateway: string;
}

/** The private network of a deployment, with fixed addresses. Only the router publishes ports beyond the loopback. */
export class Network extends pulumi.ComponentResource {
  readonly networkName: pulumi.Output<string>;

  constructor(name: string, args: NetworkArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Network", name, {}, opts);
    const network = new docker.Network(
      `${name}-bridge`,
      {
        name: networkName(args.name),
        ipamConfigs: [{ subnet: args.subnet, ipRange: args.dynamicRange, gateway: args.gateway }],
        labels: containerLabels(args.name, "network"),
      },
      { parent: this },
    );
    this.networkName = network.name;
    this.registerOutputs({ networkName: this.networkName });
  }
}
