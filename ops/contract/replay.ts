/** Which requests of the router's log may be sent once more: those of paths that the operator calls read-only. */

/** What a path has to look like: encoded slashes and dots are decoded by servers, each in its own way. */
const plainPath = /^\/(?!\/)(?!.*\/\.{1,2}(\/|$))[\w\-.~!$&'()*+,;=:@%/]*$/;
const oddlyEncoded = /%(2f|5c|2e|00)/i;

/** A pattern as a regular expression: `*` is any part of one segment, `**` any rest. */
function expressionOf(pattern: string): RegExp {
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((part) => (part === "**" ? ".*" : part === "*" ? "[^/]*" : part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&")))
    .join("");
  return new RegExp(`^${source}$`);
}

/** Whether a path of the log is one of these. @param patterns such as `/events` and `/events/*`. */
export function isReplayable(path: string, patterns: readonly string[]): boolean {
  return (
    plainPath.test(path) && !oddlyEncoded.test(path) && patterns.some((pattern) => expressionOf(pattern).test(path))
  );
}
