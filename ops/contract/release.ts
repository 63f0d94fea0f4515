/**
 * What a release is. Requests, labels, outputs and the history have it as it is stored, `{ version, commit }`: `commit` is a
 * git commit, `tree-` and a hash of files without history, or `sha256:` and the digest of an image. This is the one place
 * that takes that text apart.
 */
import { slotNames, type Release, type SlotName } from "./slots.ts";

/** What a release is made of. */
export interface Source {
  kind: "commit" | "tree" | "image";
  /** Hexadecimal digits, without what tells the kind: of a git commit (the first seven at least), a hash of files, a digest. */
  id: string;
}

const prefixes = { commit: "", tree: "tree-", image: "sha256:" } as const satisfies Record<Source["kind"], string>;

/** Reads a source as it is stored. */
export function parseSource(text: string): Source {
  const kind = (["tree", "image"] as const).find((one) => text.startsWith(prefixes[one])) ?? "commit";
  return { kind, id: text.slice(prefixes[kind].length) };
}

/** A source as it is stored. */
export function printSource({ kind, id }: Source): string {
  return `${prefixes[kind]}${id}`;
}

/** What a stored release is made of. */
export const sourceOf = ({ commit }: Pick<Release, "commit">): Source => parseSource(commit);

/** So many digits tell a commit, in a stack file and for git alike. */
const leastDigits = 7;

/** Whether two ids name one thing: either may be cut short. */
function isSameId(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return short === long || (short.length >= leastDigits && long.startsWith(short));
}

/** Whether two sources are the same, whatever they are called: an id may be given by its first digits. */
export function isSameSource(a: Source, b: Source): boolean {
  return a.kind === b.kind && isSameId(a.id, b.id);
}

/** Whether two stored releases have the same source; by another version it may be another release. */
export const isSameCommit = (a: Pick<Release, "commit">, b: Pick<Release, "commit">): boolean =>
  isSameSource(sourceOf(a), sourceOf(b));

/** Whether two releases are the same: the same source, by the same name. What is not there is the same as nothing else. */
export function isSameRelease(a: Release | undefined, b: Release | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.version === b.version && isSameCommit(a, b);
}

/** Whether what somebody typed, digits with or without `sha256:`, means a release. Empty means none. */
export function isNamedBy(typed: string, release: Pick<Release, "commit">): boolean {
  const [wanted, { kind, id }] = [parseSource(typed), sourceOf(release)];
  // Digits alone may be an image's, too.
  return (wanted.kind === kind || wanted.kind === "commit") && isSameId(wanted.id, id);
}

/** What people recognise a release by: 7 digits of the commit, the tree's hash or the image's digest. */
export const shortCommit = (commit: string): string => parseSource(commit).id.slice(0, 7);

/** As an operator can type it again: 12 digits, behind what tells the kind. */
export function typedCommit({ commit }: Pick<Release, "commit">): string {
  const { kind, id } = sourceOf({ commit });
  return printSource({ kind, id: id.slice(0, 12) });
}

/** `v1.4.0 (1a2b3c4)` */
export function describeRelease({ version, commit }: Release): string {
  const short = shortCommit(commit);
  return version === short || short === "" ? version : `${version} (${short})`;
}

/** The slot that is not this one. */
export const otherSlot = (slot: SlotName): SlotName => slotNames[slot === slotNames[0] ? 1 : 0];
