/**
 * Ports of containers that Pulumi has read while they did not run: Docker tells none then, so that the state has none, also after another refresh,
 * and the next run would make the container anew for them.
 */
import * as z from "zod";
import { tryDocker } from "../../ops/host/docker.ts";
import { isUnread } from "../../ops/host/pending-operations.ts";

const exportSchema = z.looseObject({
  deployment: z.looseObject({
    resources: z.array(
      z.looseObject({
        type: z.string(),
        inputs: z.record(z.string(), z.unknown()).optional(),
        outputs: z.record(z.string(), z.unknown()).optional(),
      }),
    ),
  }),
});

/** As Docker has them: `{"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]}` */
const bindingsSchema = z.record(
  z.string(),
  z.array(z.looseObject({ HostIp: z.string(), HostPort: z.string() })).nullable(),
);
type Bindings = z.infer<typeof bindingsSchema>;

/** The ports that a container was made with; undefined where there is none of that name. */
export async function bindingsOf(container: string, host: string): Promise<Bindings | undefined> {
  const { ok, stdout } = await tryDocker(
    ["container", "inspect", "--format={{json .HostConfig.PortBindings}}", container],
    { host },
  );
  return ok ? bindingsSchema.parse(JSON.parse(stdout)) : undefined;
}

/** The same as Pulumi's plugin has them. */
function portsOf(bindings: Bindings): Record<string, unknown>[] {
  return Object.entries(bindings)
    .flatMap(([key, hosts]) => {
      const [internal = "", protocol = "tcp"] = key.split("/");
      return (hosts ?? []).map(({ HostIp: ip, HostPort: port }) => ({
        internal: Number(internal),
        external: Number(port),
        ip,
        protocol,
      }));
    })
    .sort((a, b) => a.internal - b.internal);
}

/**
 * A state with those ports.
 * @param exported as `pulumi stack export` prints it.
 * @param ask the ports that a container was made with.
 * @returns it, with the containers' names; undefined where there is nothing to do.
 */
export async function withUnreadPorts(
  exported: string,
  ask: (container: string) => Promise<Bindings | undefined>,
): Promise<{ state: string; containers: string[] } | undefined> {
  const state = exportSchema.parse(JSON.parse(exported));
  const containers: string[] = [];
  for (const { type, inputs = {}, outputs } of state.deployment.resources) {
    const { name } = inputs;
    if (!isUnread({ type, inputs }) || typeof name !== "string") continue;
    const bindings = await ask(name);
    if (bindings === undefined) continue;
    const ports = portsOf(bindings);
    Object.assign(inputs, { mustRun: true, ports });
    if (outputs !== undefined) {
      Object.assign(outputs, { mustRun: true, ports });
      // How the plugin gets back at its own form of the outputs: it fits those before only, and the plugin does without.
      delete outputs["__pulumi_raw_state_delta"];
    }
    containers.push(name);
  }
  return containers.length === 0 ? undefined : { state: JSON.stringify(state), containers };
}
