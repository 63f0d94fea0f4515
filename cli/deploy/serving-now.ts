import { describeRelease } from "../../ops/contract/release.ts";
import type { Before } from "../../config/plan.ts";
import { isDevelopment } from "../development/refuse.ts";
import { look } from "../host/look.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { DeploymentResult } from "./deployment.ts";

/**
 * The slot that serves now: by the router's own answer, or, where it can't be asked, by the last success.
 * @param meanwhile asks what serves where the router has no slot.
 */
export async function servingNow(
  settings: PlainSettings,
  before: Before,
  meanwhile: () => Promise<string> = () => Promise.resolve("Nothing serves."),
): Promise<{ sentence: string; serving: DeploymentResult["serving"] }> {
  if (isDevelopment(settings))
    return { sentence: "A server that runs already goes on watching the working tree.", serving: undefined };
  try {
    const { router, slots } = await look(settings);
    if (router.slot === undefined) return { sentence: await meanwhile(), serving: undefined };
    const { release, health } = slots[router.slot];
    const as = before.serving?.slot === router.slot ? ", as before" : "";
    const answer =
      health === undefined ? "" : `; it ${health.status === "no answer" ? "does not answer" : `is ${health.status}`}`;
    return {
      sentence: `${router.slot} serves${release === undefined ? "" : ` ${describeRelease(release)}`}${as}${answer}.`,
      serving: release === undefined ? { slot: router.slot } : { slot: router.slot, release },
    };
  } catch {
    const { serving } = before;
    if (serving === undefined) return { sentence: "Nothing has served yet, and the router can't be asked.", serving };
    return {
      sentence: `${serving.slot} served ${describeRelease(serving.release)} before; the router can't be asked now.`,
      serving,
    };
  }
}
