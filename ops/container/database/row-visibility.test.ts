import { describe, expect, it } from "vitest";
import { rowVisibility, seenAggregate, writtenSince } from "./row-visibility.ts";

describe("the rows that a snapshot lacks", () => {
  it("are those of later transactions, where none was open", () => {
    expect(seenAggregate("800:800:")).toBeUndefined();
    expect(writtenSince({ snapshot: "800:800:", seen: [] }, "805:900:805")).toBe(
      "(900 - ((900 - xmin::text::bigint) & 4294967295)) >= 800",
    );
  });

  it("and those of transactions from before that it has seen nothing of", () => {
    const condition = writtenSince(rowVisibility("800:803:800", ["802", "801", "802"]), "900:900:");
    expect(condition).toMatch(/>= 803 OR \(.* >= 800 AND NOT .* = ANY \('\{801,802\}'::bigint\[\]\)\)\)$/);
    // Too many to list: then PostgreSQL's own function decides, which ignores subtransactions.
    const many = rowVisibility(
      "800:90000:800",
      Array.from({ length: 20_000 }, (_, index) => String(801 + index)),
    );
    expect(many).toEqual({ snapshot: "800:90000:800" });
    expect(writtenSince(many, "90001:90001:")).toContain("AND NOT pg_catalog.pg_visible_in_snapshot(");
  });

  it("can't be told of a later snapshot, or after half of all numbers", () => {
    expect(writtenSince({ snapshot: "800:803:800" }, "700:700:")).toBeUndefined();
    expect(writtenSince({ snapshot: "800:800:" }, `${2 ** 31}:${2 ** 31}:`)).toBeUndefined();
    expect(writtenSince({ snapshot: `${2 ** 40}:${2 ** 40}:` }, `${2 ** 40 + 5}:${2 ** 40 + 5}:`)).toBeDefined();
  });

  it("is asked of nothing but a snapshot", () => {
    expect(() => writtenSince({ snapshot: "1:2" }, "1:1:")).toThrow("is not a pg_snapshot");
  });
});
