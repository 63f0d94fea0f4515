/**
 * Selects the requests of the router's log that may be repeated: those of paths that the operator declares read-only.
 */

/** The allowed form of a path. Encoded slashes and dots are excluded: each server decodes them in its own way. */
const plainPath = /^\/(?!\/)(?!.*\/\.{1,2}(\/|$))[\w\-.~!$&'()*+,;=:@%/]*$/;
const oddlyEncoded = /%(2f|5c|2e|00)/i;

/** A pattern as a regular expression: `*` matches any part of one segment, `**` any rest. */
function expressionOf(pattern: string): RegExp {
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((part) => (part === "**" ? ".*" : part === "*" ? "[^/]*" : part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&")))
    .join("");
  return new RegExp(`^${source}$`);
}

/**
 * Whether a path of the log matches one of the patterns.
 * @param patterns such as `/events` and `/events/*`.
 */
export function isReplayable(path: string, patterns: readonly string[]): boolean {
  return (
    plainPath.test(path) && !oddlyEncoded.test(path) && patterns.some((pattern) => expressionOf(pattern).test(path))
  );
}
