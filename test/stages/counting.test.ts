import { describe, expect, it } from "vitest";
import { GoTests } from "./go.ts";
import { countVitest } from "./vitest.ts";

describe("counting Go tests", () => {
  const count = (...events: object[]) => {
    const tests = new GoTests();
    const shown = events.map((event) => tests.add(JSON.stringify(event))).join("");
    return { ...tests.counts, shown };
  };

  it("counts each test once, and shows the output of failed ones", () => {
    const result = count(
      { Action: "run", Package: "p", Test: "A" },
      { Action: "pass", Package: "p", Test: "A" },
      { Action: "skip", Package: "p", Test: "B" },
      { Action: "output", Package: "p", Test: "C", Output: "    c_test.go:3: wrong\n" },
      { Action: "fail", Package: "p", Test: "C" },
      { Action: "output", Package: "p", Output: "FAIL\tp\t0.1s\n" },
      { Action: "fail", Package: "p" },
    );
    expect(result).toEqual({ passed: 1, failed: 1, skipped: 1, shown: "    c_test.go:3: wrong\nFAIL\tp\t0.1s\n" });
  });

  it("counts a package that does not compile", () => {
    const result = count(
      { Action: "build-output", ImportPath: "p", Output: "p.go:1: undefined: x\n" },
      { Action: "fail", Package: "p", FailedBuild: "p" },
    );
    expect(result).toEqual({ passed: 0, failed: 1, skipped: 0, shown: "p.go:1: undefined: x\n" });
  });
});

describe("counting vitest tests", () => {
  it("counts a file that could not be loaded", () => {
    const report = { numPassedTests: 2, numFailedTests: 1, numPendingTests: 1, numTodoTests: 0 };
    const testResults = [
      { status: "failed", assertionResults: [] },
      { status: "failed", assertionResults: [{ status: "failed" }] },
      { status: "passed", assertionResults: [{ status: "passed" }, { status: "passed" }] },
    ];
    expect(countVitest({ ...report, testResults })).toEqual({ passed: 2, failed: 2, skipped: 1 });
  });
});
