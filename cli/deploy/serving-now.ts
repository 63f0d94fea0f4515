import { describeRelease } from "../../ops/contract/release.ts";
import type { Before } from "../../config/plan.ts";
import { containerName } from "../../ops/contract/names.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import { isDevelopment } from "../development/refuse.ts";
import { look, type HostReport } from "../host/look.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { DeploymentResult } from "./deployment.ts";

/** What serves at this moment: by the router's own answer, or, where it can't be asked, by the last success. */
export async function servingNow(
  settings: PlainSettings,
  before: Before,
): Promise<{ sentence: string; serving: DeploymentResult["serving"] }> {
  if (isDevelopment(settings))
    return { sentence: "A server that runs already goes on watching the working tree.", serving: undefined };
  try {
    const { router, slots } = await look(settings);
    if (router.slot === undefined) return { sentence: "Nothing serves.", serving: undefined };
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

/** What is wrong with what serves after a run that had no traffic to move, by the router's own answer; undefined when it is as the run says. */
export function unlikeRouter(
  { router }: Pick<HostReport, "router">,
  wanted: SlotName,
  name: string,
): string | undefined {
  if (router.state !== "running")
    return `nothing serves: the router's container ${router.state === undefined ? "is not there" : `is ${router.state}`}`;
  if (router.slot === undefined)
    return `nothing serves: the router has no slot to send requests to (${router.health?.detail ?? "no answer"})`;
  if (router.slot !== wanted) return `the router sends requests to ${router.slot}, not to ${wanted}`;
  const { health } = router;
  if (
    health === undefined ||
    health.status === "no answer" ||
    (health.status === "unhealthy" && health.version === undefined)
  ) {
    return `the router sends requests to ${wanted}, which does not answer (${health?.detail ?? "no answer"}): docker logs ${containerName(name, wanted)}`;
  }
  return undefined;
}
