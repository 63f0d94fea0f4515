import * as z from "zod";
import { releaseSchema } from "../slots.ts";
import { containerStep } from "../step.ts";

export const databaseSteps = {
  /**
   * Checks an external database before anything touches it: whether it answers, can be written to and dumped, has the
   * extensions, and what its roles are. DATABASE_URL has the server's role, MIGRATION_DATABASE_URL the owner's.
   */
  database: containerStep({
    network: "private",
    request: {
      /** The release that will use it: the check runs again for each one. */
      release: releaseSchema,
      /** Required extensions. */
      extensions: z.array(z.string()),
      /** The consequence when the server's role is a SUPERUSER. */
      superuser: z.enum(["error", "warn", "off"]),
      /** Maximum of connections of each server process, where its settings say so. */
      pool: z.int().optional(),
    },
    result: z.strictObject({
      serverVersion: z.string(),
      role: z.string(),
      migrationRole: z.string(),
      durationMs: z.number(),
    }),
    resource: { components: ["DatabaseCheck"], part: "check", outputs: { serverVersion: "serverVersion" } },
  }),
};
