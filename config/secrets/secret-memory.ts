import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { environmentNames, type EnvironmentName } from "../schema/environments.ts";
import { strengthInBits } from "./secret-strength.ts";

/** By fingerprint: the environments that use a secret, and its minimum strength in bits. */
const seenSchema = z.record(
  z.string(),
  z.strictObject({ environments: z.array(z.enum(environmentNames)), bits: z.number() }),
);
type Seen = z.infer<typeof seenSchema>;

const keyFile = "fingerprint.key";
const seenFile = "seen.json";

/**
 * This checkout's record of deployed secrets: fingerprints (HMAC-SHA256 with a random key of its own), never the
 * secrets. It recognizes a secret that another environment already has, and saves measuring a secret twice. It knows
 * nothing of other people's machines.
 */
export class SecretMemory {
  readonly #directory: string;
  #key: Buffer | undefined;
  #seen: Seen | undefined;

  /** @param directory not in git; created when there is something to record. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The environments that use a secret, as far as known here. */
  environmentsOf(secret: string): readonly EnvironmentName[] {
    return this.#entry(secret)?.environments ?? [];
  }

  /** The secret's strength in bits, or a lower number that is `enough`. */
  bits(secret: string, enough: number): number {
    const known = this.#entry(secret)?.bits ?? 0;
    return known > 0 && known >= enough ? known : strengthInBits(secret, enough);
  }

  /**
   * Records that an environment has these secrets.
   * @throws when it can't be written.
   */
  remember(secrets: readonly string[], environment: EnvironmentName): void {
    const unknown = secrets.filter((secret) => !this.environmentsOf(secret).includes(environment));
    if (unknown.length === 0) return;
    const key = this.#existingKey() ?? this.#newKey();
    const seen = { ...this.#load() };
    for (const secret of unknown) {
      const entry = seen[fingerprint(key, secret)];
      seen[fingerprint(key, secret)] = {
        environments: [...(entry?.environments ?? []), environment],
        bits: this.bits(secret, 0),
      };
    }
    const file = join(this.#directory, seenFile);
    writeFileSync(`${file}.${process.pid}`, `${JSON.stringify(seen, null, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.${process.pid}`, file);
    this.#seen = seen;
  }

  #entry(secret: string): Seen[string] | undefined {
    const key = this.#existingKey();
    return key === undefined ? undefined : this.#load()[fingerprint(key, secret)];
  }

  #existingKey(): Buffer | undefined {
    if (this.#key === undefined) {
      const key = read(join(this.#directory, keyFile));
      // A truncated key would make all fingerprints guessable.
      if (key !== undefined && key.length >= 32) this.#key = key;
    }
    return this.#key;
  }

  #newKey(): Buffer {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    this.#key = randomBytes(32);
    writeFileSync(join(this.#directory, keyFile), this.#key, { mode: 0o600 });
    return this.#key;
  }

  #load(): Seen {
    if (this.#seen === undefined) {
      let json: unknown;
      try {
        json = JSON.parse(read(join(this.#directory, seenFile))?.toString() ?? "{}");
      } catch {
        json = {};
      }
      // Not ours, or damaged: counts as missing.
      this.#seen = seenSchema.catch({}).parse(json);
    }
    return this.#seen;
  }
}

function fingerprint(key: Buffer, secret: string): string {
  return createHmac("sha256", key).update(secret).digest("hex");
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
