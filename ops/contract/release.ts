/**
 * A release. Requests, labels, outputs and the history store it as `{ version, commit }`: `commit` is a git commit,
 * `tree-` and a hash of files without history, or `sha256:` and the digest of an image. Only this file parses that
 * text.
 */
import { slotNames, type Release, type SlotName } from "./slots.ts";

/** The source of a release. */
export interface Source {
  kind: "commit" | "tree" | "image";
  /**
   * Hexadecimal digits without the prefix of the kind: of a git commit (the first seven at least), a hash of files, a
   * digest.
   */
  id: string;
}

const prefixes = { commit: "", tree: "tree-", image: "sha256:" } as const satisfies Record<Source["kind"], string>;

/** Parses a stored source. */
export function parseSource(text: string): Source {
  const kind = (["tree", "image"] as const).find((one) => text.startsWith(prefixes[one])) ?? "commit";
  return { kind, id: text.slice(prefixes[kind].length) };
}

/** Formats a source for storage. */
export function printSource({ kind, id }: Source): string {
  return `${prefixes[kind]}${id}`;
}

/** The source of a stored release. */
export const sourceOf = ({ commit }: Pick<Release, "commit">): Source => parseSource(commit);

/** Minimum of digits that identify a commit, in a stack file and for git alike. */
const leastDigits = 7;

/** Whether two ids are the same: either may be abbreviated. */
function isSameId(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return short === long || (short.length >= leastDigits && long.startsWith(short));
}

/** Whether two sources are the same; an id may be abbreviated to its first digits. */
export function isSameSource(a: Source, b: Source): boolean {
  return a.kind === b.kind && isSameId(a.id, b.id);
}

/** Whether two stored releases have the same source. With another version it may be another release. */
export const isSameCommit = (a: Pick<Release, "commit">, b: Pick<Release, "commit">): boolean =>
  isSameSource(sourceOf(a), sourceOf(b));

/** Whether two releases are the same: same source, same version. Undefined equals nothing. */
export function isSameRelease(a: Release | undefined, b: Release | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.version === b.version && isSameCommit(a, b);
}

/** Whether typed text, digits with or without `sha256:`, names a release. Empty text names none. */
export function isNamedBy(typed: string, release: Pick<Release, "commit">): boolean {
  const [wanted, { kind, id }] = [parseSource(typed), sourceOf(release)];
  // Digits alone may also be an image's.
  return (wanted.kind === kind || wanted.kind === "commit") && isSameId(wanted.id, id);
}

/** The short id that people know a release by: 7 digits of the commit, the tree's hash or the image's digest. */
export const shortCommit = (commit: string): string => parseSource(commit).id.slice(0, 7);

/** The id for an operator to type again: the prefix of the kind, and 12 digits. */
export function typedCommit({ commit }: Pick<Release, "commit">): string {
  const { kind, id } = sourceOf({ commit });
  return printSource({ kind, id: id.slice(0, 12) });
}

/** `v1.4.0 (1a2b3c4)` */
export function describeRelease({ version, commit }: Release): string {
  const short = shortCommit(commit);
  return version === short || short === "" ? version : `${version} (${short})`;
}

/** The other slot. */
export const otherSlot = (slot: SlotName): SlotName => slotNames[slot === slotNames[0] ? 1 : 0];
