/** Before anything changes: the plan of an adoption, and reasons that prevent it. */
import { containerName } from "../../ops/contract/names.ts";
import { join, resolve } from "node:path";
import { environmentRules } from "../../config/schema/environments.ts";
import { readSecretsFile, secretsFileOf } from "../../config/secrets/secrets.ts";
import { readTls } from "../../config/tls.ts";
import { formatDatabaseUrl } from "../../ops/contract/connection.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { formatBytes } from "../../ops/contract/units.ts";
import { resolveRelease } from "../deploy/resolve-release.ts";
import { fail, ok, warn, type Finding } from "../doctor/finding.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import type { ReleaseSetting } from "../../config/schema/stack-settings.ts";
import { findCertificate, type FoundCertificate } from "./certificate.ts";
import { planEnvironment, type EnvironmentPlan } from "./environment.ts";
import type { ForeignHost } from "./host.ts";
import type { Node } from "./look.ts";
import { portsBeside } from "./ports.ts";
import { describeProxy, findProxy } from "./proxy.ts";
import type { OldDatabase } from "./copy.ts";
import type { AdoptionRecord, Proxy } from "./record.ts";

/** The plan, with the data found for it. Contains secrets. */
export interface AdoptionPlan {
  node: Node;
  environment: EnvironmentPlan;
  /** Caddy's certificate. Undefined: the stack has its own, or there is none. */
  certificate: FoundCertificate | undefined;
  /** The release of the stack's active slot, present or planned. */
  release: { slot: SlotName; setting: ReleaseSetting };
  /** The router's final ports. */
  final: PlainSettings["ports"];
  beside: Pick<PlainSettings, "ports" | "slotPorts" | "databasePort">;
  old: OldDatabase;
  proxy: Proxy;
}

/** Room for the data twice (a scratch database, then the live one) with indexes and WAL, and for two dumps. */
const roomFor = (bytes: number): number => 3 * bytes + 512 * 1024 * 1024;

/** The old database's connection from a container, with its original role. */
export function oldDatabase(node: Node, values: Readonly<Record<string, string>>): OldDatabase {
  const { names, database, databaseNetworks } = node;
  const [network, address] = Object.entries(databaseNetworks)[0] ?? [];
  if (database === undefined || network === undefined || address === undefined)
    throw new Failure(
      "config",
      `${names.database} has no address in a Docker network, by which its data could be read`,
      `docker network connect NETWORK ${names.database}`,
    );
  let password = values["POSTGRES_PASSWORD"] ?? "";
  if (password === "" && URL.canParse(values["DATABASE_URL"] ?? ""))
    password = decodeURIComponent(new URL(values["DATABASE_URL"] ?? "").password);
  if (password === "")
    throw new Failure(
      "config",
      `${names.environmentFile} has no password of the old database: neither POSTGRES_PASSWORD nor a DATABASE_URL with one`,
      `add POSTGRES_PASSWORD there, of the role ${database.role}`,
    );
  return {
    url: formatDatabaseUrl({
      host: address,
      port: 5432,
      user: database.role,
      password,
      database: database.database,
      parameters: { sslmode: "disable" },
    }),
    network,
  };
}

/**
 * Refuses a stack that can't adopt a node.
 * @throws {Failure}
 */
export function refuseStack(
  settings: Pick<PlainSettings, "environment" | "database">,
  file: Pick<StackFile, "name" | "stack">,
): void {
  if (!environmentRules[settings.environment].blueGreen)
    throw new Failure(
      "config",
      `${file.name} is of the environment ${settings.environment}, which has no slots: a node is adopted by production or staging`,
      `--stack ${settings.environment === "development" ? "production" : "staging"}`,
    );
  if (settings.database.mode === "external")
    throw new Failure(
      "config",
      `togather:database.mode in ${file.name} is external: adopt copies the data into the bundled database`,
      "leave it out, so that it is bundled; or, to stay with the old database, docs/from-deploy-sh.md has the steps by hand",
    );
}

async function releaseOf(settings: PlainSettings, project: string): Promise<AdoptionPlan["release"]> {
  const slot = settings.activeSlot;
  const setting =
    settings.slots[slot] ?? (await resolveRelease(settings.source, project, undefined, undefined)).release;
  return { slot, setting };
}

/** The release's migrations must have run on the old data already: they would run only with the next release. */
async function schemaFindings(
  { setting }: AdoptionPlan["release"],
  node: Node,
  settings: PlainSettings,
  project: string,
): Promise<Finding[]> {
  if (!("commit" in setting) || node.database === undefined) return [];
  const { pendingMigrations } = await import("../../ops/client/pending-migrations.ts");
  const pending = await pendingMigrations(
    {
      repository: resolve(project, settings.source.repository),
      commit: setting.commit,
      path: settings.source.migrations,
    },
    node.database.schema?.version ?? null,
  );
  if (pending === undefined || pending.length === 0)
    return [ok("release", `${setting.version} has no migration that the old database lacks`)];
  return [
    fail(
      "release",
      `${setting.version} has ${pending.length} ${pending.length === 1 ? "migration" : "migrations"} that the old database lacks: ${pending.slice(0, 3).join(", ")}${pending.length > 3 ? ", …" : ""}`,
      "the release that the old node runs",
      `put that one into togather:slots.${settings.activeSlot}; once it serves here, ${invocation("release REF")} brings the newer one, with a snapshot and a rehearsal`,
    ),
  ];
}

/** River's own tables: a newer version of them may be too new for the server that reads them. */
async function riverFindings(
  host: ForeignHost,
  { names }: Node,
  { source }: Pick<PlainSettings, "source">,
): Promise<Finding[]> {
  if (
    !source.river ||
    source.riverVersion !== null ||
    (await host.query(names.database, "SELECT to_regclass('river_migration') IS NOT NULL")) !== "t"
  )
    return [];
  const version = await host.query(names.database, "SELECT max(version) FROM river_migration");
  return [
    warn(
      "River's tables",
      `at version ${version} there, and togather:source.riverVersion is not set: the next release brings them to the newest`,
      "the version that the server's River has",
      `togather:source.riverVersion: ${version}, unless its go.mod has a newer River`,
    ),
  ];
}

type Environment = ReturnType<typeof planEnvironment>;

/** The secret that signs the old node's tokens: without it all users are logged out. */
function secretFindings({ secrets, unread }: Environment, file: string): Finding[] {
  if (secrets["JWT_SECRET"] !== undefined || unread.includes("JWT_SECRET")) return [];
  return [
    fail(
      "JWT_SECRET",
      `none in ${file} that could be taken over`,
      "the one that signs the old node's tokens",
      `set it there, or as JWT_SECRET in the secrets file`,
    ),
  ];
}

/** Conflicting containers: the old node's, where they have the names of this stack's, and this stack's own. */
async function nameFindings(
  host: ForeignHost,
  node: Node,
  settings: PlainSettings,
  record: AdoptionRecord,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const own = [...([...slotNames, "database", "router"] as const).map((part) => containerName(settings.name, part))];
  const theirs = [node.names.database, ...Object.values(node.names.slots)].filter((name) => own.includes(name));
  if (theirs.length > 0)
    findings.push(
      fail(
        "togather:name",
        `${settings.name}: this stack's containers would be called ${theirs.join(", ")}, as the old node's`,
        "names of their own",
        "another togather:name",
      ),
    );
  const there = record.environment === undefined ? await host.ownContainers(settings.name) : [];
  if (there.length > 0)
    findings.push(
      fail(
        "this stack",
        `has containers on the Docker host: ${there.join(", ")}`,
        "a stack that was never deployed there",
        `${invocation("status")} says what it is; its data would be replaced by the old node's`,
      ),
    );
  return findings;
}

/** Caddy's certificate for the old node, where this stack has none of its own. */
async function certificateOf(
  host: ForeignHost,
  node: Node,
  settings: PlainSettings,
  about: { project: string; values: Awaited<ReturnType<ForeignHost["variables"]>>; httpsPort: number },
): Promise<{ certificate: AdoptionPlan["certificate"]; findings: Finding[] }> {
  const { project, values, httpsPort } = about;
  const secretsFile = secretsFileOf(settings);
  const { file } = readSecretsFile(join(project, secretsFile), secretsFile);
  if (readTls(settings, { environment: process.env, file }, project).value !== undefined)
    return { certificate: undefined, findings: [] };
  const certificate = await findCertificate(host, node, values);
  if (certificate !== undefined)
    return { certificate, findings: [ok("certificate", `Caddy's for ${certificate.description}`)] };
  // Visitors who came by HTTPS would no longer find it.
  const needed = environmentRules[settings.environment].https === "error" || node.listening.has(httpsPort);
  const missing = fail(
    "certificate",
    `none in ${node.names.caddyData} for the old node's name`,
    "a certificate and its key",
    "togather:tls: { certificateFile: …, keyFile: … }",
  );
  return { certificate, findings: needed ? [missing] : [] };
}

/** Room for a second and a third copy of the database. No finding where the free space is unknown. */
async function diskFindings(host: ForeignHost, image: string, databaseBytes: number): Promise<Finding[]> {
  const free = await host.freeBytes(image);
  if (free === undefined) return [];
  const room = roomFor(databaseBytes);
  return [
    free < room
      ? fail(
          "disk",
          `${formatBytes(free)} free where Docker keeps its data`,
          `${formatBytes(room)} for a second and a third copy of ${formatBytes(databaseBytes)}`,
          "docker system df shows what takes room there",
        )
      : ok("disk", `${formatBytes(free)} free, ${formatBytes(room)} needed`),
  ];
}

/**
 * Checks everything that an adoption needs. Changes nothing.
 * @returns obstacles as failed findings; the plan is undefined where there can't be one.
 */
export async function prepare(about: {
  host: ForeignHost;
  node: Node;
  settings: PlainSettings;
  project: string;
  read: ReadonlySet<string> | undefined;
  record: AdoptionRecord;
}): Promise<{ findings: Finding[]; plan: AdoptionPlan | undefined }> {
  const { host, node, settings, project, read, record } = about;
  const { environmentFile, database, databaseImage } = node;
  if (environmentFile === undefined || database === undefined) return { findings: [], plan: undefined };
  const values = await host.variables(databaseImage, node.names.environmentFile);
  const environment = planEnvironment(values, { read, settings });
  const final = record.ports?.final ?? settings.ports;
  const names = await nameFindings(host, node, settings, record);
  const tls = await certificateOf(host, node, settings, { project, values, httpsPort: final.https });
  const disk = await diskFindings(host, databaseImage, database.bytes);
  const release = await releaseOf(settings, project);
  const schema = await schemaFindings(release, node, settings, project);
  const river = await riverFindings(host, node, settings);
  const proxy = await findProxy(host, databaseImage, [final.http, final.https]);
  return {
    findings: [
      ...secretFindings(environment, node.names.environmentFile),
      ...names,
      ...tls.findings,
      ...disk,
      ...schema,
      ...river,
      ok("public ports", `${final.http} and ${final.https}: ${describeProxy(proxy)}`),
    ],
    plan: {
      node,
      old: oldDatabase(node, values),
      environment,
      certificate: tls.certificate,
      release,
      final,
      beside: record.ports === undefined ? portsBeside(settings, node) : settings,
      proxy,
    },
  };
}

const shown = (names: readonly string[]): string => names.join(", ") || "nothing";

/** The steps as text, each with the way to undo it. */
export function planText(
  { node, environment, certificate, release, final, beside, proxy }: AdoptionPlan,
  file: Pick<StackFile, "name">,
  settings: Pick<PlainSettings, "secretsFile" | "environment">,
): string {
  const running = slotNames
    .filter((slot) => node.slots[slot]?.state === "running")
    .map((slot) => node.names.slots[slot]);
  const left = Object.entries(environment.left)
    .filter(([, names]) => names.length > 0)
    .map(([why, names]) => `${why}: ${names.join(", ")}`);
  const { database } = node;
  const moved = node.sites.length > 1 ? `, with all of its sites: ${node.sites.join(", ")}` : "";
  return [
    `1. environment  into ${file.name}: ${shown(Object.keys(environment.settings))}; into ${secretsFileOf(settings)}: ${shown(Object.keys(environment.secrets))}${certificate === undefined ? "" : "; into .togather/tls: Caddy's certificate"}.`,
    ...(left.length === 0 ? [] : [`                Left out: ${left.join("; ")}.`]),
    `                Undone: they are taken out again.`,
    `2. deploy       ${release.setting.version} into ${release.slot}, with an empty database, beside the old node, on the ports ${beside.ports.http} and ${beside.ports.https}.`,
    `                Undone: pulumi destroy. The old node is not touched.`,
    `3. trial        the old database (${formatBytes(database?.bytes ?? 0)}, ${database?.tables ?? 0} tables) is copied into a scratch database, every row counted, while the old node serves.`,
    `                Undone: the scratch database is dropped at once.`,
    `4. takeover     nobody is served from here on: ${running.length === 0 ? "no old slot runs" : `${running.join(" and ")} ${running.length === 1 ? "is" : "are"} stopped`}, the data are copied again and counted,`,
    `                ${proxy.kind === "none" ? `the router takes the ports ${final.http} and ${final.https}` : `${describeProxy(proxy)} is stopped${moved}, the router takes the ports ${final.http} and ${final.https}`} and is asked; then ${node.names.database} is stopped.`,
    `                Undone, until the router has answered: all of it is started again, by itself when something fails. After that: not. Nothing is removed.`,
  ].join("\n");
}
