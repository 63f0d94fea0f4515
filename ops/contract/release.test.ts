import { describe, expect, it } from "vitest";
import {
  describeRelease,
  isNamedBy,
  isSameCommit,
  isSameRelease,
  otherSlot,
  parseSource,
  printSource,
  shortCommit,
  typedCommit,
} from "./release.ts";

const hash = "abcdef0123456789abcdef0123456789abcdef01";
const digest = "abcdef01".repeat(8);
const stored = [hash, hash.slice(0, 7), `tree-${digest}`, `tree-${digest.slice(0, 12)}`, `sha256:${digest}`];

describe("a stored source", () => {
  it.each(stored)("%s is read and printed as it was", (commit) => {
    expect(printSource(parseSource(commit))).toBe(commit);
  });
  it("has its kind, and is shown by seven digits, and typed by twelve behind its kind", () => {
    expect(stored.map((commit) => parseSource(commit).kind)).toEqual(["commit", "commit", "tree", "tree", "image"]);
    expect([...new Set(stored.map(shortCommit))]).toEqual(["abcdef0"]);
    expect(stored.map((commit) => typedCommit({ commit }))).toEqual([
      "abcdef012345",
      "abcdef0",
      "tree-abcdef01abcd",
      "tree-abcdef01abcd",
      "sha256:abcdef01abcd",
    ]);
  });
});

describe("isSameRelease", () => {
  const same = (a: string, b: string): boolean =>
    isSameRelease({ version: "v1", commit: a }, { version: "v1", commit: b });
  it("takes a hash that is cut short for the whole one, from either side", () => {
    for (const length of [7, 8, 12, 39, 40]) {
      expect(same(hash, hash.slice(0, length))).toBe(true);
      expect(same(hash.slice(0, length), hash)).toBe(true);
    }
    expect(same(`tree-${digest}`, `tree-${digest.slice(0, 12)}`)).toBe(true);
  });
  it("tells the kinds apart, and other digits", () => {
    for (const [index, a] of stored.entries())
      for (const [other, b] of stored.entries())
        expect(same(a, b)).toBe(index === other || parseSource(a).kind === parseSource(b).kind);
    expect(same(hash, `${hash.slice(0, 39)}2`)).toBe(false);
  });
  it("finds a release in nothing that has too few digits, or none", () => {
    expect(same(hash, "")).toBe(false);
    expect(same(hash, "abcdef")).toBe(false);
    expect(same("sha256:", `sha256:${digest}`)).toBe(false);
    expect(same("", "")).toBe(true);
  });
  it("takes another version for another release, and the same commit", () => {
    const [a, b] = [
      { version: "v1", commit: hash },
      { version: "v2", commit: hash.slice(0, 10) },
    ];
    expect(isSameRelease(a, b)).toBe(false);
    expect(isSameCommit(a, b)).toBe(true);
  });
  it("has nothing the same as nothing", () => {
    expect(isSameRelease(undefined, undefined)).toBe(true);
    expect(isSameRelease(undefined, { version: "v1", commit: hash })).toBe(false);
  });
});

describe("isNamedBy", () => {
  it.each([
    [hash, hash],
    [hash.slice(0, 7), hash],
    [hash, hash.slice(0, 7)],
    [digest.slice(0, 9), `sha256:${digest}`],
    [`sha256:${digest.slice(0, 9)}`, `sha256:${digest}`],
    [`sha256:${digest}`, `sha256:${digest}`],
  ])("%s means %s", (typed, commit) => {
    expect(isNamedBy(typed, { commit })).toBe(true);
  });
  it.each([
    ["", hash],
    ["", `sha256:${digest}`],
    ["abcdef", hash],
    [`sha256:${hash.slice(0, 9)}`, hash],
    ["1234567", hash],
  ])("%j does not mean %s", (typed, commit) => {
    expect(isNamedBy(typed, { commit })).toBe(false);
  });
});

it("describes a release once", () => {
  expect(describeRelease({ version: "v1.4.0", commit: `sha256:${digest}` })).toBe("v1.4.0 (abcdef0)");
  expect(describeRelease({ version: "abcdef0", commit: hash })).toBe("abcdef0");
  expect(describeRelease({ version: "v1.4.0", commit: "" })).toBe("v1.4.0");
});

it("knows the other slot", () => {
  expect([otherSlot("blue"), otherSlot("green")]).toEqual(["green", "blue"]);
});
