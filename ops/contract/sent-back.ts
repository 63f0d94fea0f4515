/** Releases from which a host has sent traffic back: kept in the router's state, so that none of them comes again by itself. */
import * as z from "zod";
import { isSameCommit } from "./release.ts";
import type { Release } from "./slots.ts";

export const sentBackSchema = z.object({
  version: z.string(),
  commit: z.string(),
  /** When, ISO. */
  at: z.string(),
  /** The first line of why. */
  why: z.string().default(""),
});
export type SentBack = z.infer<typeof sentBackSchema>;

/** So many are remembered, the newest first. */
const remembered = 20;
const longestWhy = 200;

/** With one more. */
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

/** Without a release that has kept all traffic by now. */
export function withoutSentBack(before: readonly SentBack[], release: Release): SentBack[] {
  return before.filter((one) => !isSameCommit(one, release));
}

/** When a release was sent back, and why; undefined where it was not. */
export function sentBackAs(before: readonly SentBack[], release: Release): SentBack | undefined {
  return before.find((one) => isSameCommit(one, release));
}
