import { differences, differenceText, type RealNow, type WantedNow } from "../../config/differences.ts";
import { lookAtHost } from "../../ops/host/serving-slot.ts";
import { isDevelopment } from "../development/refuse.ts";
import { wantedOf } from "../host/drift.ts";
import { invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";
import { ok, warn, type Finding } from "./finding.ts";

/** What the next `up` will mend, beside what it is to release. */
export function differenceFindings(
  wanted: WantedNow,
  real: RealNow,
  names: { name: string; file: string; stack: string },
): Finding[] {
  const found = differences(wanted, undefined, real).filter(
    (one) => one.kind === "down" || one.kind === "restart" || (one.kind === "missing" && one.repair === "make"),
  );
  if (found.length === 0)
    return [ok("containers", Object.keys(real.states).length === 0 ? "nothing is deployed" : "all that are to run do")];
  return found.map((one) =>
    warn(
      "containers",
      differenceText(one, names),
      one.kind === "restart" ? `the slot that serves, ${one.serves}` : "running",
      invocation(`up --stack ${names.stack}`),
    ),
  );
}

/** The deployment's containers, where it has slots. @throws {StepError} when the Docker host doesn't answer. */
export async function containerFindings(settings: PlainSettings, stack: string): Promise<Finding[]> {
  const { name, host } = settings;
  if (isDevelopment(settings)) return [];
  const { router, states, held, served } = await lookAtHost(name, host);
  const real = { router, states, held, had: served };
  return differenceFindings(wantedOf(settings), real, { name, file: "the stack file", stack });
}
