/**
 * Finds a deployment's objects on its Docker host and in its database: a new state without them would collide with
 * their names.
 */
import { containerName } from "../../ops/contract/names.ts";
import * as z from "zod";
import { tryDocker } from "../../ops/host/docker.ts";
import { Failure } from "../failure.ts";
import type { FoundContainer, FoundOnHost, namesOf } from "./import-state.ts";

const containerSchema = z.array(
  z.looseObject({
    Id: z.string(),
    Name: z.string(),
    Image: z.string(),
    Config: z.looseObject({
      Env: z.array(z.string()).nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
    }),
  }),
);

/**
 * @throws {Failure} when a name is taken by something that is not this deployment's, or the database can't be asked.
 */
export async function lookForImport(
  { name, host }: { name: string; host: string },
  names: ReturnType<typeof namesOf>,
): Promise<FoundOnHost> {
  const docker = (...args: string[]): ReturnType<typeof tryDocker> => tryDocker(args, { host });
  const at = host === "" ? "" : `DOCKER_HOST=${host} `;
  const ours = (kind: string, thing: string, label: string | undefined): void => {
    if (label === name) return;
    throw new Failure(
      "config",
      `the ${kind} ${thing} is there, and is not of the deployment ${name}: its label org.togather.name is ${label === undefined ? "not set" : label}. Nothing was changed`,
      `${at}docker ${kind} inspect ${thing}, and rename or remove it; or give this deployment another togather:name`,
    );
  };

  const containers = new Map<string, FoundContainer>();
  for (const wanted of names.containers) {
    const asked = await docker("container", "inspect", wanted);
    if (!asked.ok) continue;
    const [container] = containerSchema.parse(JSON.parse(asked.stdout));
    if (container === undefined) continue;
    ours("container", wanted, container.Config.Labels?.["org.togather.name"]);
    const image = await docker("image", "inspect", "--format={{json .Config.Env}}", container.Image);
    const given = new Set(image.ok ? (JSON.parse(image.stdout) as string[] | null) : []);
    containers.set(wanted, {
      id: container.Id,
      imageId: container.Image,
      labels: container.Config.Labels ?? {},
      env: (container.Config.Env ?? []).filter((entry) => !given.has(entry)),
    });
  }
  const networks = new Map<string, string>();
  for (const wanted of names.networks) {
    const asked = await docker(
      "network",
      "inspect",
      '--format={{.Id}} {{with index .Labels "org.togather.name"}}{{.}}{{end}}',
      wanted,
    );
    if (!asked.ok) continue;
    const [id = "", label = ""] = asked.stdout.trim().split(" ");
    ours("network", wanted, label === "" ? undefined : label);
    networks.set(wanted, id);
  }
  const database = containerName(name, "database");
  if (!names.inDatabase || (!containers.has(database) && names.containers.includes(database)))
    return { containers, networks, roles: new Set(), databases: new Set() };
  const asked = await docker(
    "exec",
    "--user=postgres",
    database,
    "psql",
    "--no-psqlrc",
    "--tuples-only",
    "--no-align",
    "--dbname=postgres",
    "--command=SELECT 'role', rolname FROM pg_roles UNION ALL SELECT 'database', datname FROM pg_database",
  );
  if (!asked.ok)
    throw new Failure(
      "other",
      `${database} can't be asked for its roles and databases: ${asked.stderr.trim()}. Nothing was changed`,
      `${at}docker start ${database}, and run this again`,
    );
  const rows = asked.stdout.split("\n").map((line) => line.split("|"));
  const of = (kind: string): Set<string> =>
    new Set(rows.flatMap(([what, named]) => (what === kind && named !== undefined ? [named] : [])));
  return { containers, networks, roles: of("role"), databases: of("database") };
}
