import { relative } from "node:path";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { project } from "../../toolchain/setup.ts";

/**
 * Integration tests by the time that they took last, the longest first: one of them that begins last would run alone.
 * Only the order counts; one that isn't here yet begins first.
 */
export const longest = [
  ...[
    "drift",
    "router",
    "deployment",
    "cli",
    "standby",
    "kill-and-fill-copies",
    "kill-and-fill",
    "remote",
    "ops",
    "kill",
  ],
  ...["copied-snapshots", "server-versions", "snapshots", "rehearsal", "adopt", "external", "formats", "lost-host"],
  ...["rollout", "lock", "restore", "development", "copy", "traffic", "database-url"],
].map((name) => `test/integration/${name}.test.ts`);

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => longest.indexOf(relative(project, moduleId));
    // Unit tests are in vitest's own order.
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}
