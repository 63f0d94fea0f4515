import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Machine } from "../toolchain/machine.ts";
import type { Report } from "../toolchain/step.ts";

/** A directory that is removed at the end of the test. Its path has a space and a percent sign. */
export function temporaryDirectory(): string {
  const parent = mkdtempSync(join(tmpdir(), "togather-setup-test-"));
  onTestFinished(() => {
    rmSync(parent, { recursive: true, force: true });
  });
  const directory = join(parent, "100% a b");
  mkdirSync(directory);
  return directory;
}

/** A machine that has only the given programs (shell scripts), and no network. */
export function fakeMachine(programs: Record<string, string>, machine: Partial<Machine> = {}): Machine {
  const home = temporaryDirectory();
  const bin = join(home, "bin");
  mkdirSync(bin);
  for (const [name, script] of Object.entries(programs))
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return {
    platform: "linux",
    arch: "x64",
    isRoot: false,
    isDebian: true,
    cacheDirectory: join(home, "cache"),
    ...machine,
    env: { PATH: bin, HOME: home, ...machine.env },
  };
}

/** Records the output of a step. */
export function recorder(): { report: Report; lines: string[] } {
  const lines: string[] = [];
  const report: Report = Object.assign((line: string) => void lines.push(line), { detail: () => undefined });
  return { report, lines };
}
