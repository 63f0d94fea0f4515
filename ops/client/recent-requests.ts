/** Recent requests to a slot, from the router's access log, which is its container's output. */
import * as z from "zod";
import { containerName } from "../contract/names.ts";
import { isReplayable } from "../contract/replay.ts";
import type { RecentAnswer, RecentQuestion } from "../contract/questions.ts";
import { lastLines, tryDocker } from "../host/docker.ts";

/** Lines that are searched for each wanted request, and the time limit in ms. */
const [linesEach, limitMs] = [50, 20_000];

const lineSchema = z.object({
  method: z.string(),
  path: z.string(),
  slot: z.string(),
  upstream_addr: z.string(),
  upstream_status: z.string(),
});

/**
 * The newest GET requests that a slot has answered, the oldest first, and the slot's address. The path is the only data
 * of a visitor in them.
 */
export function recentIn(log: string, { slot, paths, requests }: RecentQuestion): RecentAnswer {
  const found = log.split("\n").flatMap((line) => {
    try {
      const one = lineSchema.parse(JSON.parse(line));
      const answered = /^\d{3}$/.test(one.upstream_status) && /^[\d.]+:\d+$/.test(one.upstream_addr);
      return one.method === "GET" && one.slot === slot && answered && isReplayable(one.path, paths) ? [one] : [];
    } catch {
      // A message of nginx, or a truncated line.
      return [];
    }
  });
  const recent = found.slice(-requests);
  return { paths: recent.map(({ path }) => path), address: recent.at(-1)?.upstream_addr ?? null };
}

export async function recentRequests(
  question: RecentQuestion,
  { name }: { name: string },
  signal: AbortSignal,
): Promise<RecentAnswer> {
  const { ok, stdout, stderr } = await tryDocker(
    ["logs", "--tail", String(question.requests * linesEach), containerName(name, "router")],
    { signal, timeoutMs: limitMs },
  );
  return ok ? recentIn(stdout, question) : { problem: lastLines(stderr, 2) || "docker logs failed" };
}
