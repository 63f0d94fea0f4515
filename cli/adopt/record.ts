/** The progress of an adoption, in a file of this project: the data needed to continue, and to go back. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as z from "zod";
import { slotNameSchema } from "../../ops/contract/steps.ts";
import { Failure } from "../failure.ts";
import { shortName } from "../stack-name.ts";

const names = z.array(z.string());
const portsSchema = z.object({ http: z.number(), https: z.number() });

const recordSchema = z.object({
  environment: z
    .object({ settings: names, listed: names, unread: names, maxConnections: z.boolean(), secrets: names, made: names })
    .optional(),
  /** Files of the certificate that was copied. */
  tls: names.optional(),
  /** The slot into which a release was put. */
  slot: slotNameSchema.optional(),
  ports: z
    .object({
      /** The values in the stack's file before; null: none. */
      before: z.object({ ports: z.unknown(), slotPorts: z.unknown(), databasePort: z.unknown() }),
      /** The router's final ports, and those beside the old node. */
      final: portsSchema,
      beside: portsSchema,
    })
    .optional(),
  deployed: z.object({ at: z.string() }).optional(),
  trial: z
    .object({ at: z.string(), snapshot: z.string(), rows: z.number(), tables: z.number(), durationMs: z.number() })
    .optional(),
  takeover: z
    .object({
      at: z.string(),
      /** The old slots that ran. */
      slots: z.array(z.object({ container: z.string(), restart: z.string() })),
      database: z.object({ container: z.string(), restart: z.string() }),
      proxy: z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("unit"), unit: z.string(), enabled: z.boolean() }),
        z.object({ kind: z.literal("container"), container: z.string(), restart: z.string() }),
        z.object({ kind: z.literal("none") }),
      ]),
      copied: z.object({ snapshot: z.string(), rows: z.number(), replaced: z.string().nullable() }).optional(),
      /** The time from which the public may have reached the router. */
      public: z.string().optional(),
    })
    .optional(),
  done: z.object({ at: z.string(), outageMs: z.number() }).optional(),
});
export type AdoptionRecord = z.infer<typeof recordSchema>;
export type Takeover = NonNullable<AdoptionRecord["takeover"]>;
/** The former owner of the public ports. */
export type Proxy = Takeover["proxy"];

/** The record of a stack's adoption; each change of it is on disk at once. */
export class Adoption {
  readonly #path: string;
  readonly record: AdoptionRecord;

  /** @throws {Failure} where the file exists and can't be read. */
  constructor(project: string, stack: string) {
    this.#path = join(project, ".togather", "adopt", `${shortName(stack)}.json`);
    this.record = {};
    if (!existsSync(this.#path)) return;
    try {
      this.record = recordSchema.parse(JSON.parse(readFileSync(this.#path, "utf8")));
    } catch {
      throw new Failure(
        "config",
        `${this.#path} can't be read: it says how far the adoption is`,
        "put it back from a backup; where nothing was moved yet, remove it",
      );
    }
  }

  /** Changes the record, and writes it. */
  note(change: Partial<AdoptionRecord>): void {
    Object.assign(this.record, change);
    mkdirSync(dirname(this.#path), { recursive: true });
    const partial = `${this.#path}.partial`;
    writeFileSync(partial, `${JSON.stringify(this.record, null, 2)}\n`, { mode: 0o600 });
    renameSync(partial, this.#path);
  }

  forget(): void {
    rmSync(this.#path, { force: true });
  }
}
