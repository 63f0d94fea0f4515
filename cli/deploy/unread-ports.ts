/**
 * Ports of containers that did not run when Pulumi read them: Docker reports none then. The state has no ports after
 * that, not even after another refresh, and the next run would replace the container.
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

/** Docker's form: `{"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]}` */
const bindingsSchema = z.record(
  z.string(),
  z.array(z.looseObject({ HostIp: z.string(), HostPort: z.string() })).nullable(),
);
type Bindings = z.infer<typeof bindingsSchema>;

/** The ports that a container was created with. Undefined: there is no container of that name. */
export async function bindingsOf(container: string, host: string): Promise<Bindings | undefined> {
  const { ok, stdout } = await tryDocker(
    ["container", "inspect", "--format={{json .HostConfig.PortBindings}}", container],
    { host },
  );
  return ok ? bindingsSchema.parse(JSON.parse(stdout)) : undefined;
}

/** The ports in the form of Pulumi's plugin. */
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
 * Adds those ports to a state.
 * @param exported output of `pulumi stack export`.
 * @param ask the ports that a container was created with.
 * @returns the state and the containers' names. Undefined: nothing to do.
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
      // The plugin's delta between its raw outputs and these: it fits the old outputs only, and the plugin works
      // without it.
      delete outputs["__pulumi_raw_state_delta"];
    }
    containers.push(name);
  }
  return containers.length === 0 ? undefined : { state: JSON.stringify(state), containers };
}
