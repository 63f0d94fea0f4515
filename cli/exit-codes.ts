import { stepEndings } from "../ops/contract/endings.ts";

/**
 * The exit codes of `togather`. The table in docs/cli.md is tested against this one. Scripts rely on the numbers: a
 * number never changes its meaning.
 */
export const exitCodes = {
  ok: { code: 0, meaning: "done, or nothing to do" },
  other: { code: 1, meaning: "anything that has no code of its own" },
  config: { code: 2, meaning: "wrong arguments or settings; nothing was changed on the host" },
  lock: { code: 3, meaning: "another deployment holds the lock" },
  ...stepEndings,
  interrupted: { code: 130, meaning: "interrupted (Ctrl-C, SIGTERM)" },
} as const;
export type Ending = keyof typeof exitCodes;
