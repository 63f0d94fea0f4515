/**
 * Releases from which a host has sent traffic back. They are kept in the router's state, so that none of them is
 * released again by itself.
 */
import * as z from "zod";
import { isSameCommit } from "./release.ts";
import type { Release } from "./slots.ts";

export const sentBackSchema = z.object({
  version: z.string(),
  commit: z.string(),
  /** Time, ISO. */
  at: z.string(),
  /** The first line of the reason. */
  why: z.string().default(""),
});
export type SentBack = z.infer<typeof sentBackSchema>;

/** Number of remembered releases, the newest first. */
const remembered = 20;
const longestWhy = 200;

/** The list with one more release. */
export function addSentBack(before: readonly SentBack[], { version, commit }: Release, why: string): SentBack[] {
  const [line = ""] = why.split("\n");
  const one = {
    version,
    commit,
    at: new Date().toISOString(),
    why: line.length > longestWhy ? `${line.slice(0, longestWhy)}…` : line,
  };
  return [one, ...withoutSentBack(before, { version, commit })].slice(0, remembered);
}

/** The list without a release that has kept all traffic since. */
export function withoutSentBack(before: readonly SentBack[], release: Release): SentBack[] {
  return before.filter((one) => !isSameCommit(one, release));
}

/** Time and reason for which a release was sent back. Undefined: it was not. */
export function sentBackAs(before: readonly SentBack[], release: Release): SentBack | undefined {
  return before.find((one) => isSameCommit(one, release));
}
