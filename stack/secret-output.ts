import * as pulumi from "@pulumi/pulumi";
import type { Secret } from "../config/secrets/secret.ts";

/** A secret as an output that Pulumi keeps encrypted. The one place of the program where one is revealed to the engine. */
export function secretOutput(secret: Secret): pulumi.Output<string> {
  return pulumi.secret(secret.reveal());
}

/** The same, where there is one. */
export const secretOutputOf = (secret: Secret | undefined): pulumi.Output<string> | undefined =>
  secret && secretOutput(secret);
