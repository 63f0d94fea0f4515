import { createRequire } from "node:module";

/** Words that people use when they invent secrets for this system: worth next to nothing. */
const ownWords = [
  "togather",
  "production",
  "staging",
  "development",
  "local",
  "server",
  "database",
  "postgres",
  "password",
  "secret",
  "jwt",
  "token",
  "admin",
  "api",
  "key",
  "event",
];

/** Values from a template that were never replaced. Words that may occur in random text have to stand alone. */
const placeholder =
  /change[-_ ]?(me|this|it|in)|replace[-_ ]?(me|this|with)|your[-_ ]|placeholder|insert[-_ ]|<[^<>]+>|^\$\{?\w+\}?$|(?<![a-z0-9])(example|sample|dummy|todo|tbd|fixme|x{4,})(?![a-z0-9])/i;

/** Whether a value is a template's placeholder for a secret, such as CHANGE_ME. */
export function isPlaceholder(value: string): boolean {
  return placeholder.test(value);
}

/**
 * The same for text that people write, such as `Events <noreply@example.org>` or a URL: only its beginning, or the
 * whole.
 */
const placeholderText =
  /^(please[-_ ])?(change|replace)[-_ ]?(me|this|it|with)|^your[-_]\S*$|^placeholder|^insert[-_ ]|^<[^<>@]+>$|^\$\{?\w+\}?$|^(todo|tbd|fixme)(?![a-z0-9])|^(example|sample|dummy|x{4,})$/i;

/** Whether a value that need not be random is a template's placeholder. */
export function isPlaceholderText(value: string): boolean {
  return placeholderText.test(value.trim());
}

type Zxcvbn = InstanceType<typeof import("@zxcvbn-ts/core").ZxcvbnFactory>;
let zxcvbn: Zxcvbn | undefined;

/** Loaded at its first use, which is rare (see `SecretMemory`): it takes 0.1 s, and a whole preview not much more. */
function estimator(): Zxcvbn {
  if (zxcvbn !== undefined) return zxcvbn;
  const require = createRequire(import.meta.url);
  const { ZxcvbnFactory } = require("@zxcvbn-ts/core") as typeof import("@zxcvbn-ts/core");
  const { adjacencyGraphs, dictionary } =
    require("@zxcvbn-ts/language-common") as typeof import("@zxcvbn-ts/language-common");
  zxcvbn = new ZxcvbnFactory({ dictionary: { ...dictionary, ownWords }, graphs: adjacencyGraphs });
  return zxcvbn;
}

/** Random hex of this many characters is worth 93 bits: measuring more of a good secret only takes longer, 0.1 s at 64. */
const usuallyEnough = 28;

const measured = new Map<string, number>();

/**
 * The number of guesses that a secret takes at least, as a power of two: zxcvbn's estimate, which knows words,
 * sequences, repetitions and keyboards. Of a long secret, only as much is measured as `enough` bits need.
 */
export function strengthInBits(value: string, enough: number): number {
  let bits = measured.get(value) ?? 0;
  for (const length of [usuallyEnough, value.length]) {
    if (bits >= enough) break;
    bits = Math.max(bits, Math.floor(estimator().check(value.slice(0, length)).guessesLog10 / Math.log10(2)));
  }
  measured.set(value, bits);
  return bits;
}
