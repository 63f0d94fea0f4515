import type { Problem } from "../problems.ts";
import type { EnvironmentName } from "../schema/environments.ts";
import type { SecretMemory } from "../secrets/secret-memory.ts";
import { isPlaceholder, isPlaceholderText } from "../secrets/secret-strength.ts";
import { isOwn, type FoundSecret, type OwnSecret } from "../secrets/secrets.ts";
import { secretKeys, secretRow, type SecretRow } from "../secrets/table.ts";
import { errors, found, type Check } from "./check.ts";

/** The quality of secrets: lengths that the server requires everywhere, the rest by the environment's rules. */
export const checkSecrets: Check = ({ stack, rules, secrets, own, memory }) => {
  const server = Object.values(secrets.server);
  const rowsThat = (wants: (row: SecretRow) => boolean): (OwnSecret | undefined)[] =>
    secretKeys.filter((key) => wants(secretRow(key))).map((key) => secrets[key]);
  const given = server.filter((secret) => !isOwn(secret));
  const oneLine = server.filter(({ value }) => !value.trim().includes("\n"));
  return [
    ...errors(tooShort([...rowsThat((row) => row.serverRefusesShort === true), ...server])),
    ...found(rules.strongSecrets, [...placeholderProblems(own, given), ...weakSecrets(own, memory)]),
    ...errors(
      unfit(
        rowsThat((row) => row.untrimmed === "refused"),
        controlCharacter,
      ),
    ),
    ...errors(unfit([...rowsThat((row) => row.untrimmed !== "refused"), ...server], /\0/)),
    ...found("warn", odd([...rowsThat(() => true), ...server])),
    ...errors(untrimmed(rowsThat((row) => row.untrimmed === "refused"))),
    ...found("warn", untrimmed([...rowsThat((row) => row.untrimmed === "warned"), ...oneLine])),
    ...found(rules.uniqueSecrets, reusedSecrets(own, memory, stack.environment)),
  ];
};

/** In every environment: the server does not start with them. */
function tooShort(secrets: readonly (FoundSecret | undefined)[]): Problem[] {
  return secrets.flatMap((secret) => {
    if (secret === undefined || !isOwn(secret) || Buffer.byteLength(secret.value) >= secret.characters) return [];
    const what = `has ${secret.value.length} characters, and the server takes none below ${secret.characters}`;
    return [{ where: secret.from, what, fix: secret.fix }];
  });
}

/**
 * Placeholders of a template instead of secrets.
 * @param own random secrets of the table of secrets.
 * @param server the server's own: passwords, but also addresses and URLs.
 */
function placeholderProblems(own: readonly FoundSecret[], server: readonly FoundSecret[]): Problem[] {
  const found = [
    ...own.filter(({ value }) => isPlaceholder(value)),
    ...server.filter(({ value }) => isPlaceholderText(value)),
  ];
  return found.map(({ from, fix }) => ({ where: from, what: "is a placeholder, expected a secret of your own", fix }));
}

/** Secrets with a line break or blanks around them. */
function untrimmed(secrets: readonly (FoundSecret | undefined)[]): Problem[] {
  return secrets.flatMap((secret) => {
    if (secret === undefined || secret.value === secret.value.trim()) return [];
    const what = `${/\n\s*$/.test(secret.value) ? "ends with a line break" : "has blanks around it"}, which would be part of the secret`;
    const fix = `in a shell ${secret.name}="$(cat FILE)" leaves out the line break at the end`;
    return [{ where: secret.from, what, fix }];
  });
}

/** Characters that no request header and no password line contains. */
const controlCharacter = /\p{Cc}/u;
/** Invisible characters, often copied from a web page or a word processor. */
const invisible = /[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]/u;
const quotes = /^(["'`]).*\1$|^[“‘„].*[”’“]$/su;

const codePoint = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Secrets with a character that does not reach its destination. Blanks around them are left to `untrimmed`. */
function unfit(secrets: readonly (FoundSecret | undefined)[], character: RegExp): Problem[] {
  return secrets.flatMap((secret) => {
    const match = secret === undefined ? null : character.exec(secret.value.trim());
    if (secret === undefined || match === null) return [];
    const what =
      match[0] === "\n" || match[0] === "\r" ? "a line break" : `the control character ${codePoint(match[0])}`;
    return [
      { where: secret.from, what: `has ${what} in it, expected one line of printable characters`, fix: secret.fix },
    ];
  });
}

/** Secrets with characters that were probably not meant: quotes around them, or invisible ones. */
function odd(secrets: readonly (FoundSecret | undefined)[]): Problem[] {
  return secrets.flatMap((secret): Problem[] => {
    if (secret === undefined) return [];
    const value = secret.value.trim();
    const unseen = invisible.exec(value);
    if (unseen !== null)
      return [
        {
          where: secret.from,
          what: `has the character ${codePoint(unseen[0])} in it, which nobody sees, and which is part of the secret`,
        },
      ];
    return quotes.test(value)
      ? [{ where: secret.from, what: "has quotes around it, which are part of the secret" }]
      : [];
  });
}

/** Secrets that could be guessed. */
function weakSecrets(found: readonly OwnSecret[], memory: SecretMemory): Problem[] {
  return found.flatMap(({ from, value, characters, bits, fix }): Problem[] => {
    if (isPlaceholder(value)) return [];
    const { length } = value;
    if (length < characters)
      return [{ where: from, what: `has ${length} characters, expected at least ${characters}`, fix }];
    const strength = memory.bits(value, bits);
    if (strength < bits)
      return [{ where: from, what: `is easy to guess: about ${strength} bits, expected at least ${bits}`, fix }];
    return [];
  });
}

/** Secrets that are used elsewhere: in another environment, or under another name in this one. */
function reusedSecrets(found: readonly OwnSecret[], memory: SecretMemory, environment: EnvironmentName): Problem[] {
  return found.flatMap(({ from, value, fix }, index): Problem[] => {
    const twin = found.slice(0, index).find((other) => other.value === value);
    const others = memory.environmentsOf(value).filter((other) => other !== environment);
    return [
      ...(twin === undefined
        ? []
        : [{ where: from, what: `is the same as ${twin.name}, expected a secret of its own`, fix }]),
      ...(others.length === 0
        ? []
        : [
            {
              where: from,
              what: `is in use in ${others.join(" and ")} too, expected a secret of its own for ${environment}`,
              fix,
            },
          ]),
    ];
  });
}
