/**
 * Placeholders such as `{publicUrl}` in `source.environment` and `source.buildArguments`: values that only the
 * deployment knows.
 */
import { nearest } from "./nearest.ts";
import type { Problem } from "./problems.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** The names that are allowed in braces, each with the reason where it has no value. */
const names = {
  publicUrl: {},
  publicHost: {},
  subnet: {},
  routerAddress: { development: "development has no router" },
  slot: {
    buildArguments: "both slots run the same image; it is known in togather:source.environment",
    development: "development has no slots",
  },
  version: { development: "development has no releases" },
  commit: { development: "development has no releases" },
  created: { environment: "it is known in togather:source.buildArguments" },
} as const satisfies Record<string, { environment?: string; buildArguments?: string; development?: string }>;
export type Placeholder = keyof typeof names;
type Place = "environment" | "buildArguments";

/**
 * A word in braces, or one after a backslash, which is literal. Double braces belong to another program's templates,
 * and JSON's words are quoted: neither matches.
 */
const pattern = /\\\{([A-Za-z]\w*)\}|(?<!\{)\{([A-Za-z]\w*)\}(?!\})/g;

/**
 * Replaces placeholders by their values.
 * @param later placeholders that are filled in later: they stay as they are, escaped ones too.
 * @throws {Error} for one without a value, which `placeholderProblems` finds before.
 */
export function fillIn(
  text: string,
  values: Partial<Record<Placeholder, string>>,
  later: readonly Placeholder[] = [],
): string {
  return text.replace(pattern, (whole, literal: string | undefined, name: string | undefined) => {
    if ((later as readonly (string | undefined)[]).includes(literal ?? name)) return whole;
    if (literal !== undefined) return whole.slice(1);
    const value = values[name as Placeholder];
    if (value === undefined) throw new Error(`nothing is known as {${name}}`);
    return value;
  });
}

/** Escapes a text so that `fillIn` returns it unchanged. */
export const literally = (text: string): string => text.replace(pattern, (whole) => `\\${whole}`);

/** The same for all values of a record. */
export function fillInAll(
  texts: Readonly<Record<string, string>>,
  values: Partial<Record<Placeholder, string>>,
  later: readonly Placeholder[] = [],
): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, fillIn(text, values, later)]));
}

/** The problem of one placeholder; undefined when there is none. */
function problemWith(
  name: string,
  place: Place,
  stack: Pick<StackSettings, "environment" | "publicUrl">,
): Omit<Problem, "where"> | undefined {
  const inDevelopment = stack.environment === "development";
  const why = (one: string): string | undefined => {
    const unknown: { environment?: string; buildArguments?: string; development?: string } = names[one as Placeholder];
    return unknown[place] ?? (inDevelopment ? unknown.development : undefined);
  };
  const known = Object.keys(names).filter((one) => why(one) === undefined);
  if (!Object.hasOwn(names, name)) {
    const meant = nearest(name, known);
    return {
      what: `nothing is known as {${name}}`,
      fix: `${meant === undefined ? "" : `did you mean {${meant}}? `}Known here: ${known.map((one) => `{${one}}`).join(", ")}; \\{${name}} stands for the text itself`,
    };
  }
  const reason = why(name);
  if (reason !== undefined)
    return {
      what: `{${name}} is not known here: ${reason}`,
      fix: `Known here: ${known.map((one) => `{${one}}`).join(", ")}`,
    };
  if (/^public/.test(name) && stack.publicUrl === "" && !inDevelopment) {
    return {
      what: `{${name}} is not known, since togather:publicUrl is not set`,
      fix: "pulumi config set togather:publicUrl https://events.example.org, the URL by which visitors reach this node",
    };
  }
  return undefined;
}

/** Problems of the placeholders in a stack's settings. */
export function unknownPlaceholders(stack: Pick<StackSettings, "environment" | "publicUrl" | "source">): Problem[] {
  return (["environment", "buildArguments"] as const).flatMap((place) =>
    Object.entries(stack.source[place]).flatMap(([variable, text]) => {
      const used = new Set([...text.matchAll(pattern)].map(([, , name]) => name).filter((name) => name !== undefined));
      return [...used].flatMap((name) => {
        const problem = problemWith(name, place, stack);
        return problem === undefined ? [] : [{ where: `togather:source.${place}.${variable}`, ...problem }];
      });
    }),
  );
}
