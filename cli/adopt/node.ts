import type { EnvironmentName } from "../../config/schema/environments.ts";
import type { SlotName } from "../../ops/contract/steps.ts";

/** The names of the parts of a node that deploy.sh made. */
export interface NodeNames {
  /** Container of its PostgreSQL. */
  database: string;
  /** Containers of its slots. */
  slots: Record<SlotName, string>;
  /** On the Docker host. */
  environmentFile: string;
  caddyfile: string;
  /** Caddy's directory with its certificates. */
  caddyData: string;
}

export const deployShNode = (environment: EnvironmentName): NodeNames => ({
  database: "togather-db",
  slots: { blue: "togather-server-blue", green: "togather-server-green" },
  environmentFile: `/opt/togather/.env.${environment}`,
  caddyfile: "/etc/caddy/Caddyfile",
  caddyData: "/var/lib/caddy/.local/share/caddy",
});
