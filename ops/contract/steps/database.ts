import * as z from "zod";
import { releaseSchema } from "../slots.ts";
import { containerStep } from "../step.ts";

export const databaseSteps = {
  /**
   * Looks at an external database before anything touches it: whether it answers, can be written to and dumped,
   * has the extensions, and who the roles are. DATABASE_URL has the server's role, MIGRATION_DATABASE_URL the owner's.
   */
  database: containerStep({
    network: "private",
    request: {
      /** The release that is to use it: checked again for each one. */
      release: releaseSchema,
      /** Extensions that have to be there. */
      extensions: z.array(z.string()),
      /** What it means that the server's role is a SUPERUSER. */
      superuser: z.enum(["error", "warn", "off"]),
      /** Connections of each process of the server at most, where its settings say so. */
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
