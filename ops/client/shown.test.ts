import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { createShown } from "./shown.ts";

/** Runs a step for some hours that prints a line every few seconds. */
function talk(
  hours: number,
  everySeconds: number,
  line: (index: number) => string,
  failed = false,
): { text: string; lines: string[] } {
  let now = 0;
  let text = "";
  const shown = createShown(
    (part) => {
      text += part;
    },
    () => now,
  );
  for (let index = 0; now < hours * 3_600_000; index += 1, now += everySeconds * 1000) shown.line(line(index));
  shown.end(failed);
  return { text, lines: text.split("\n") };
}

const progress = (index: number): string =>
  `12:00:00 INFO    green with 50 % of the requests: ${index} requests, 0 failed; 3600 s left`;

describe("what a step shows", () => {
  it("is all of it for a step of ordinary length", () => {
    const { lines } = talk(1, 15, progress);
    expect(lines).toHaveLength(241);
    expect(lines.join("\n")).not.toContain("not shown");
  });

  it.each([
    ["a bake of two days", 48, 10],
    ["a restore of a day that talks every two seconds", 24, 2],
    ["a loop that talks a hundred times a second", 0.5, 0.01],
  ])("fits into one environment variable after %s", (_, hours, every) => {
    const { text, lines } = talk(hours, every, progress);
    const { error, status } = spawnSync("/bin/sh", ["-c", "true"], { env: { PULUMI_COMMAND_STDERR: text } });
    expect(error).toBeUndefined();
    expect(status).toBe(0);
    expect(lines.at(-2)).toMatch(/^… \d+ lines are not shown; the deployment's log has them/);
  });

  it("goes on showing progress to the end of a long step", () => {
    const { text } = talk(48, 10, progress);
    const shown = [...text.matchAll(/requests: (\d+) requests/g)].map((match) => Number(match[1]) * 10);
    const gaps = shown.slice(1).map((at, index) => at - (shown[index] ?? 0));
    // Never silent for longer than a fiftieth of the time so far, with one line of tolerance.
    expect(gaps.every((gap, index) => gap <= 10 + (shown[index] ?? 0) / 50)).toBe(true);
    expect(48 * 3600 - (shown.at(-1) ?? 0)).toBeLessThan(3600);
  });

  it("holds no line that the official plugin hangs at, however long it was, in whatever characters", () => {
    for (const line of ["x".repeat(70_000), "ä€😀".repeat(30_000), `12:00:00 ERROR   ${"y".repeat(200_000)}`]) {
      const { lines } = talk(0.1, 60, () => line);
      for (const shown of lines) expect(Buffer.byteLength(shown)).toBeLessThanOrEqual(4096);
      expect(lines[0]).toMatch(/… \(\d+ bytes\)$/);
      expect(lines.join("\n")).not.toContain("\uFFFD");
    }
  });

  it("shows the reason of a failure, whatever was said before", () => {
    const { lines } = talk(1, 0.1, (index) => (index === 35_999 ? "the reason" : progress(index)), true);
    expect(lines.at(-2)).toBe("the reason");
  });
});
