import type * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/settings.ts";
import { secretOutput } from "./secret-output.ts";

/** Secrets of every server of the deployment, by variable, beside its DATABASE_URL. */
export function serverSecrets({
  secrets: { jwtSecret, adminApiKey, server },
}: Pick<Settings, "secrets">): Record<string, pulumi.Output<string>> {
  return Object.fromEntries(
    Object.entries({ ...server, JWT_SECRET: jwtSecret, ADMIN_API_KEY: adminApiKey }).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, secretOutput(value)]],
    ),
  );
}
