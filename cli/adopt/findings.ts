import { slotNames } from "../../ops/contract/steps.ts";
import { formatBytes } from "../../ops/contract/units.ts";
import { fail, ok, warn, type Finding } from "../doctor/finding.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { EnvironmentAudit } from "./audit.ts";
import type { Node } from "./look.ts";
import { holderOf, portsBeside } from "./ports.ts";

/** The version of the bundled database and of the snapshots' pg_dump. */
const OWN_POSTGRES = 17;

const list = (names: readonly string[]): string => names.join(", ");

function databaseFindings(
  { names, database, databaseState }: Node,
  settings: Pick<PlainSettings, "database">,
): Finding[] {
  if (database === undefined)
    return [
      fail(
        "database",
        `${names.database} is ${databaseState}`,
        "a database that runs",
        `docker start ${names.database}`,
      ),
    ];
  const { version, versionNumber, role, superuser, owners, tables, bytes, extensions, schema } = database;
  const major = Math.floor(versionNumber / 10_000);
  const found = `PostgreSQL ${version} in ${names.database}: database ${database.database}, ${tables} tables, ${formatBytes(bytes)}`;
  const findings = [
    major >= 14 && major <= OWN_POSTGRES
      ? ok("database", found)
      : fail("database", found, `PostgreSQL 14 to ${OWN_POSTGRES}`, `bring ${names.database} to one of these first`),
  ];
  findings.push(
    superuser
      ? warn(
          "database role",
          `${role} is a SUPERUSER; tables belong to ${owners.length === 0 ? "nobody yet" : list(owners)}`,
          "a role that owns the schema and one that reads and writes rows",
          "the bundled database makes both by itself, and the data become the owner's; for mode external see docs/from-deploy-sh.md",
        )
      : ok("database role", `${role}; tables belong to ${list(owners)}`),
  );
  const unknown = extensions.filter((name) => !settings.database.extensions.includes(name));
  findings.push(
    ok(
      "extensions",
      `${list(extensions) || "none"}${unknown.length === 0 ? "" : `; not in togather:database.extensions, and come with the data: ${list(unknown)}`}`,
    ),
  );
  if (schema === undefined)
    findings.push(
      warn(
        "schema version",
        "none: golang-migrate never ran here",
        "a table schema_migrations",
        "check that this is the server's database",
      ),
    );
  else if (schema.dirty)
    findings.push(
      fail(
        "schema version",
        `${schema.version}, dirty`,
        "a version that is not dirty",
        "finish or undo that migration on the old node first",
      ),
    );
  else findings.push(ok("schema version", String(schema.version)));
  return findings;
}

function slotFindings({ names, slots, serving, hasCaddyfile }: Node): Finding[] {
  const findings = slotNames.map((slot): Finding => {
    const one = slots[slot];
    if (one === undefined) return ok(names.slots[slot], "there is none");
    return ok(
      names.slots[slot],
      `${one.state}${one.port === undefined ? "" : `, port ${one.port}`}${serving === slot ? "; Caddy's file names it" : ""}`,
    );
  });
  if (serving !== undefined) return findings;
  const why = hasCaddyfile
    ? `${names.caddyfile} names ${slotNames.some((slot) => slots[slot] !== undefined) ? "neither slot's port, or both" : "no slot that there is"}`
    : `there is no ${names.caddyfile}`;
  return [
    ...findings,
    warn(
      "serving",
      why,
      "one slot that Caddy sends requests to",
      "find out which slot serves before anything is moved",
    ),
  ];
}

/**
 * Ports that the stack wants and another program has: other ports are taken, the router's only while the old node
 * serves.
 */
function portFindings(node: Node, settings: Pick<PlainSettings, "ports" | "slotPorts" | "databasePort">): Finding[] {
  const beside = portsBeside(settings, node);
  const rows: [key: string, wanted: number, taken: number, until: string][] = [
    ["ports.http", settings.ports.http, beside.ports.http, " until the takeover"],
    ["ports.https", settings.ports.https, beside.ports.https, " until the takeover"],
    ["slotPorts.blue", settings.slotPorts.blue, beside.slotPorts.blue, ""],
    ["slotPorts.green", settings.slotPorts.green, beside.slotPorts.green, ""],
    ["databasePort", settings.databasePort, beside.databasePort, ""],
  ];
  return rows.map(([key, wanted, taken, until]) =>
    ok(
      `togather:${key}`,
      wanted === taken ? `${wanted} is free` : `${wanted}: ${holderOf(wanted, node) ?? "taken"}; ${taken}${until}`,
    ),
  );
}

/**
 * The findings of an audit, by name and never by value.
 * @param byShell the values were read by a shell, which does not end a value at a `#` inside a word.
 */
export function auditFindings(
  audit: EnvironmentAudit,
  file: string,
  template: string | undefined,
  byShell = false,
): Finding[] {
  const { missing, extra, unread, placeholders, cut, moves } = audit;
  const findings: Finding[] = [];
  if (template === undefined)
    findings.push(
      warn(
        "template",
        "none in the server's repository",
        "the template of the environment file",
        "--template FILE names one",
      ),
    );
  else {
    findings.push(
      missing.length === 0
        ? ok("missing", `nothing of ${template}`)
        : warn("missing", list(missing), `each variable of ${template}`, `add those that this node needs to ${file}`),
    );
    findings.push(
      extra.length === 0
        ? ok("extra", "nothing")
        : warn("extra", list(extra), `only variables of ${template}`, "leave out those that nothing needs"),
    );
  }
  if (unread === undefined)
    findings.push(
      warn(
        "read by nothing",
        "the server's Go files are not in togather:source.repository",
        "its source, to tell",
        "git clone it there, or point togather:source.repository to it",
      ),
    );
  else
    findings.push(
      unread.length === 0
        ? ok("read by nothing", "each is named by the server's Go files")
        : warn(
            "read by nothing",
            list(unread),
            "variables that the server's Go files name",
            "leave them out, unless another program reads them",
          ),
    );
  if (placeholders.length > 0)
    findings.push(warn("placeholders", list(placeholders), "values of your own", `replace them in ${file}`));
  if (cut.length > 0)
    findings.push(
      byShell
        ? ok("cut off", `${list(cut)}: nothing, a shell reads on behind the #`)
        : fail(
            "cut off",
            list(cut),
            "no # outside of quotes, behind which a value ends",
            `put the values in single quotes in ${file}`,
          ),
    );
  const where: [string, string[], string][] = [
    [
      "secrets",
      moves.secrets,
      "to the stack's secrets file; names other than JWT_SECRET and ADMIN_API_KEY go into togather:source.secrets too",
    ],
    ["plain settings", moves.settings, "to togather:source.environment"],
    ["set by the deployment", moves.deployment, "left out"],
    ["of the old database", moves.database, "left out"],
  ];
  return [
    ...findings,
    ...where
      .filter(([, names]) => names.length > 0)
      .map(([check, names, what]) => ok(check, `${list(names)}: ${what}`)),
  ];
}

/**
 * The findings about a node that these settings are to take over.
 * @param ports false once the stack has its own ports there.
 */
export function nodeFindings(
  node: Node,
  settings: Pick<PlainSettings, "database" | "ports" | "slotPorts" | "databasePort">,
  ports = true,
): Finding[] {
  const environment =
    node.environmentFile === undefined
      ? [
          fail(
            "environment file",
            `${node.names.environmentFile} is not on the Docker host`,
            "the old server's environment file",
            "togather env audit FILE looks at one that is elsewhere",
          ),
        ]
      : [ok("environment file", node.names.environmentFile)];
  return [
    ...databaseFindings(node, settings),
    ...slotFindings(node),
    ...(ports ? portFindings(node, settings) : []),
    ...environment,
  ];
}
