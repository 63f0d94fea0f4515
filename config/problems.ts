import { nearest } from "./nearest.ts";
import type * as z from "zod";

/** One problem in the operator's settings. */
export interface Problem {
  /**
   * The place: a config key or a file and key, e.g. `togather:slots.blue.commit` or `deployment.yml:
   * database.snapshot_retention`.
   */
  where: string;
  /** The value that was found, and the expected one. */
  what: string;
  /** The command or edit that fixes it. */
  fix?: string;
}

/** Adds this stack's name to the commands of a fix: without it they would change the currently selected stack. */
export function forStack(fix: string, stack: string): string {
  return fix.replaceAll(/\bpulumi config (set|rm) (?!--stack)/g, `pulumi config $1 --stack ${stack} `);
}

/** All problems of the settings at once, so that nobody has to find them one by one. Shown without a stack trace. */
export class SettingsError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const lines = problems.map(
      ({ where, what, fix }) => `  ${where}: ${what}${fix === undefined ? "" : `\n      fix: ${fix}`}`,
    );
    super(
      `${problems.length === 1 ? "1 problem" : `${problems.length} problems`} in the settings; nothing was changed.\n${lines.join("\n")}`,
    );
    this.name = "SettingsError";
    this.problems = problems;
  }
}

/**
 * Converts zod's issues to problems.
 * @param place turns a path such as ["slots", "blue"] into the operator's name for it.
 * @param knownKeys the keys that a strict object at this path allows, for a suggestion.
 */
export function problemsOf(
  error: z.ZodError,
  place: (path: readonly PropertyKey[]) => string,
  knownKeys: (path: readonly PropertyKey[]) => readonly string[],
): Problem[] {
  return error.issues.flatMap((issue): Problem[] => {
    if (issue.code === "unrecognized_keys") {
      const known = knownKeys(issue.path);
      return issue.keys.map((key) => {
        const suggestion = nearest(key, known);
        return {
          where: place([...issue.path, key]),
          what: "is not a setting",
          fix: suggestion === undefined ? `remove it; known here: ${known.join(", ")}` : `did you mean ${suggestion}?`,
        };
      });
    }
    return [{ where: place(issue.path), what: issue.message }];
  });
}

/** The keys of a (possibly nested) object schema at a path. Empty: there is no object. */
export function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let current: unknown = schema;
  for (;;) {
    // Optional, default and pipe wrappers hold the real schema inside.
    const definition = (current as { def?: { type?: string; innerType?: unknown; in?: unknown } } | undefined)?.def;
    if (definition?.innerType !== undefined) current = definition.innerType;
    else if (definition?.type === "pipe") current = definition.in;
    else break;
  }
  // All members of a list have the same schema.
  const { def } = current as { def?: { type?: string; element?: z.ZodType } };
  if (def?.type === "array" && def.element !== undefined)
    return path.length === 0 ? [] : keysAt(def.element, path.slice(1));
  const shape = (current as { shape?: Record<string, z.ZodType> } | undefined)?.shape;
  if (shape === undefined) return [];
  const [head, ...rest] = path;
  if (head === undefined) return Object.keys(shape);
  const next = shape[String(head)];
  return next === undefined ? [] : keysAt(next, rest);
}
