import * as pulumi from "@pulumi/pulumi";
import type { Secret } from "../config/secrets/secret.ts";

/** A secret as an output that Pulumi keeps encrypted. Only this function reveals a secret to the engine. */
export function secretOutput(secret: Secret): pulumi.Output<string> {
  return pulumi.secret(secret.reveal());
}

/** The same for an optional secret. */
export const secretOutputOf = (secret: Secret | undefined): pulumi.Output<string> | undefined =>
  secret && secretOutput(secret);
