/**
 * The endings of a deployment when one of its steps fails. Each has an exit code of `togather` (cli/exit-codes.ts adds
 * codes that belong to no step). Scripts rely on the numbers: a number never changes its meaning.
 */
export const stepEndings = {
  build: { code: 4, meaning: "an image could not be built or pulled" },
  snapshot: { code: 5, meaning: "a snapshot, before the migrations or of `snapshots create`, failed" },
  migration: {
    code: 6,
    meaning: "a migration failed, or would (in its rehearsal), is not safe (lint), or breaks the release that serves",
  },
  gate: { code: 7, meaning: "the new release did not pass its gate" },
  switch: { code: 8, meaning: "the switch could not be confirmed and was undone" },
  rolledBack: { code: 9, meaning: "traffic had moved to the new release and was sent back" },
  restore: { code: 10, meaning: "a snapshot could not be verified or restored; the database is as it was" },
  task: { code: 11, meaning: "a task before the switch failed" },
} as const;
export type StepEnding = keyof typeof stepEndings;
