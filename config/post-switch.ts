import type { EndpointCheck } from "../ops/contract/steps.ts";
import type { Settings } from "./settings.ts";

/** The requests through the router after a switch: the stack's own checks, or the health endpoint where the environment wants one. */
export function postSwitchChecks({
  deployment,
  rules,
  source,
}: Pick<Settings, "deployment" | "rules" | "source">): EndpointCheck[] {
  const { post_switch_checks: checks } = deployment.deployment;
  if (checks !== "auto") return checks;
  return rules.postSwitchChecks ? [{ path: source.healthPath, status: 200 }] : [];
}
