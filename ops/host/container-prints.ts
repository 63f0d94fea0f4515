/** What the slots' containers are made of: by it a switch knows whether it is one that has proved itself. */
import { containerName } from "../contract/names.ts";
import { createHash } from "node:crypto";
import * as z from "zod";
import { slotNames, type SlotName, type StepRequest } from "../contract/steps.ts";
import type { Prints } from "../contract/slot-file.ts";
import { tryDocker } from "./docker.ts";

const inspectedSchema = z.array(
  z.looseObject({
    Name: z.string(),
    Image: z.string(),
    Config: z.looseObject({
      Env: z.array(z.string()).nullable(),
      Cmd: z.array(z.string()).nullish(),
      Entrypoint: z.array(z.string()).nullish(),
    }),
  }),
);

/** Image, environment and command as one digest. A container that is stopped and started, or made again from the same, stays the same; secrets can't be read out of it. */
export function containerPrint({
  Image: image,
  Config: { Env: environment, Cmd: command, Entrypoint: entrypoint },
}: z.infer<typeof inspectedSchema>[number]): string {
  return createHash("sha256")
    .update(JSON.stringify([image, [...(environment ?? [])].sort(), command ?? null, entrypoint ?? null]))
    .digest("hex");
}

/** Of both slots' containers; without one, or where the engine does not answer, there is none. */
export async function containerPrints(
  { name }: Pick<StepRequest<"switch">, "name">,
  signal: AbortSignal,
): Promise<Prints> {
  const container = (slot: SlotName): string => containerName(name, slot);
  try {
    // What is there is told also where the other one is not.
    const { stdout } = await tryDocker(["container", "inspect", ...slotNames.map(container)], {
      signal,
      timeoutMs: 10_000,
    });
    const found = inspectedSchema.parse(JSON.parse(stdout));
    return Object.fromEntries(
      slotNames.flatMap((slot) =>
        found.filter(({ Name }) => Name === `/${container(slot)}`).map((one) => [slot, containerPrint(one)]),
      ),
    );
  } catch {
    return {};
  }
}
