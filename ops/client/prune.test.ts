import { describe, expect, it } from "vitest";
import { expiredTags } from "./prune.ts";

const tags = [
  { tag: "togather-server:a", taggedAt: 1 },
  { tag: "togather-server:d", taggedAt: 4 },
  { tag: "togather-server:b", taggedAt: 2 },
  { tag: "togather-server:c", taggedAt: 3 },
  { tag: "togather-ops:a", taggedAt: 1 },
  { tag: "togather-ops:b", taggedAt: 2 },
];

describe("expired images", () => {
  it("are all but the newest of each kind", () => {
    expect(expiredTags(tags, [], 1)).toEqual([
      "togather-server:c",
      "togather-server:b",
      "togather-server:a",
      "togather-ops:a",
    ]);
    expect(expiredTags(tags, [], 4)).toEqual([]);
  });

  it("never are those to keep, and these don't count as the newest", () => {
    expect(expiredTags(tags, ["togather-server:a", "togather-server:d"], 1)).toEqual([
      "togather-server:b",
      "togather-ops:a",
    ]);
    expect(expiredTags(tags, ["togather-server:a", "togather-ops:b"], 0)).toEqual([
      "togather-server:d",
      "togather-server:c",
      "togather-server:b",
      "togather-ops:a",
    ]);
  });
});
