import { differences, differenceText, hadIn, type RealNow, type WantedNow } from "../../config/differences.ts";
import type { Before } from "../../config/plan.ts";
import { lookAtHost } from "../../ops/host/serving-slot.ts";
import { isDevelopment } from "../development/refuse.ts";
import { wantedOf } from "../host/drift.ts";
import { invocation } from "../output.ts";
import type { PulumiStack } from "../deploy/pulumi-stack.ts";
import type { PlainSettings } from "../stack-file.ts";
import { ok, warn, type Finding } from "./finding.ts";

/** Differences that the next `up` will mend, beside its release. */
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
export async function containerFindings(
  settings: PlainSettings,
  pulumi: Pick<PulumiStack, "name" | "outputs">,
  known: Before["slots"] | undefined,
): Promise<Finding[]> {
  const { name, host } = settings;
  if (isDevelopment(settings)) return [];
  const [{ router, states, held, served }, left] = await Promise.all([
    lookAtHost(name, host),
    // Problems of Pulumi are findings of another check.
    known ??
      pulumi.outputs().then(
        (outputs) => outputs?.slots,
        () => undefined,
      ),
  ]);
  const real = { router, states, held, had: hadIn({ served, left }) };
  return differenceFindings(wantedOf(settings), real, { name, file: "the stack file", stack: pulumi.name });
}
