/** Fingerprints of the slots' containers. A switch uses them to recognize a container that has proved itself. */
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

/**
 * Image, environment and command as one digest. A container that is stopped and started, or created again with the same
 * parts, keeps it. No secret can be read out of it.
 */
export function containerPrint({
  Image: image,
  Config: { Env: environment, Cmd: command, Entrypoint: entrypoint },
}: z.infer<typeof inspectedSchema>[number]): string {
  return createHash("sha256")
    .update(JSON.stringify([image, [...(environment ?? [])].sort(), command ?? null, entrypoint ?? null]))
    .digest("hex");
}

/** Fingerprints of both slots' containers. A slot without a container, or an engine that does not answer, has none. */
export async function containerPrints(
  { name }: Pick<StepRequest<"switch">, "name">,
  signal: AbortSignal,
): Promise<Prints> {
  const container = (slot: SlotName): string => containerName(name, slot);
  try {
    // The output has existing containers even where another one is missing.
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
