import * as z from "zod";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { Failure } from "../failure.ts";
import type { ForeignHost } from "./host.ts";
import type { NodeNames } from "./node.ts";

const databaseSchema = z.object({
  version: z.string(),
  versionNumber: z.int(),
  database: z.string(),
  role: z.string(),
  superuser: z.boolean(),
  owners: z.array(z.string()),
  extensions: z.array(z.string()),
  tables: z.int(),
  bytes: z.int(),
  migrations: z.boolean(),
});

/** The old node's database. */
export interface NodeDatabase extends z.infer<typeof databaseSchema> {
  /** golang-migrate's version. Undefined: it never ran. */
  schema: { version: number; dirty: boolean } | undefined;
}

/** The findings of a look at a node. */
export interface Node {
  names: NodeNames;
  databaseState: string;
  /** Undefined: its container doesn't run. */
  database: NodeDatabase | undefined;
  /** The image of its container, which the host therefore has. */
  databaseImage: string;
  /** Its address, by Docker network. */
  databaseNetworks: Record<string, string>;
  slots: Record<SlotName, { state: string; port: number | undefined; restart: string } | undefined>;
  /** The slot in Caddy's file. Undefined: none, or more than one. */
  serving: SlotName | undefined;
  /** The environment file's text, including secrets. Undefined: it does not exist. */
  environmentFile: string | undefined;
  hasCaddyfile: boolean;
  /** Hosts that Caddy's file names as sites. */
  sites: string[];
  listening: ReadonlySet<number>;
}

const own = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'm')";
const look = `SELECT json_build_object(
  'version', current_setting('server_version'), 'versionNumber', current_setting('server_version_num')::int,
  'database', current_database(), 'role', current_user, 'superuser', (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
  'owners', (SELECT coalesce(json_agg(DISTINCT pg_catalog.pg_get_userbyid(c.relowner)), '[]') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ${own}),
  'extensions', (SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'),
  'tables', (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE ${own}),
  'bytes', pg_catalog.pg_database_size(current_database()), 'migrations', to_regclass('schema_migrations') IS NOT NULL)`;

async function lookAtDatabase(host: ForeignHost, container: string): Promise<NodeDatabase> {
  const found = databaseSchema.parse(JSON.parse(await host.query(container, look)));
  const row = found.migrations
    ? await host.query(
        container,
        "SELECT json_build_object('version', version, 'dirty', dirty) FROM schema_migrations LIMIT 1",
      )
    : "";
  return {
    ...found,
    schema: row === "" ? undefined : z.object({ version: z.int(), dirty: z.boolean() }).parse(JSON.parse(row)),
  };
}

const withoutComments = (caddyfile: string): string[] =>
  caddyfile.split("\n").map((line) => line.replace(/(^|\s)#.*/, ""));

/** The host's ports that a Caddyfile sends requests to. */
export function upstreamPorts(caddyfile: string): number[] {
  return withoutComments(caddyfile).flatMap((line) =>
    [...line.matchAll(/(?:localhost|127\.0\.0\.1|\[::1\]):(\d+)/g)].map(([, port]) => Number(port)),
  );
}

/** Hosts of a Caddyfile's sites, without schemes and ports. */
export function sitesOf(caddyfile: string): string[] {
  const sites: string[] = [];
  let depth = 0;
  for (const line of withoutComments(caddyfile)) {
    const [, addresses = ""] = /^\s*(.*?)\s*\{\s*$/.exec(line) ?? [];
    // Global options have no address; snippets have one in parentheses.
    if (depth === 0 && addresses !== "" && !addresses.startsWith("("))
      sites.push(
        ...addresses.split(/[\s,]+/).map((address) => address.replace(/^https?:\/\//, "").replace(/:\d+$/, "")),
      );
    // Placeholders such as {host} open and close on one line.
    depth += (line.match(/\{/g) ?? []).length - (line.match(/\}/g) ?? []).length;
  }
  return [...new Set(sites.filter((site) => site !== ""))];
}

/**
 * Examines a node. Changes nothing.
 * @throws {Failure} where the host has no such node.
 */
export async function lookAtNode(host: ForeignHost, names: NodeNames): Promise<Node> {
  const database = await host.container(names.database);
  if (database === undefined) {
    throw new Failure(
      "config",
      `the Docker host has no container ${names.database}, which a node that deploy.sh made has`,
      "togather:host names the Docker host of that node; docs/from-deploy-sh.md says what is looked for",
    );
  }
  const [blue, green] = await Promise.all(slotNames.map((slot) => host.container(names.slots[slot])));
  const [environmentFile, caddyfile, listening] = await Promise.all([
    host.file(database.image, names.environmentFile),
    host.file(database.image, names.caddyfile),
    host.listening(database.image),
  ]);
  const published = (container: typeof blue): Node["slots"]["blue"] => {
    if (container === undefined) return undefined;
    const [port] = Object.values(container.ports ?? {}).flatMap((bindings) =>
      (bindings ?? []).map(({ HostPort }) => Number(HostPort)),
    );
    return { state: container.state, port, restart: container.restart };
  };
  const slots = { blue: published(blue), green: published(green) };
  const upstreams = upstreamPorts(caddyfile ?? "");
  const named = slotNames.filter((slot) => upstreams.includes(slots[slot]?.port ?? 0));
  return {
    names,
    databaseState: database.state,
    databaseImage: database.image,
    databaseNetworks: Object.fromEntries(
      Object.entries(database.networks).flatMap(([network, { IPAddress }]) =>
        IPAddress === "" ? [] : [[network, IPAddress]],
      ),
    ),
    database: database.state === "running" ? await lookAtDatabase(host, names.database) : undefined,
    slots,
    serving: named.length === 1 ? named[0] : undefined,
    environmentFile,
    hasCaddyfile: caddyfile !== undefined,
    sites: sitesOf(caddyfile ?? ""),
    listening,
  };
}
