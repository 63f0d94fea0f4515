import { slotNames } from "../../ops/contract.ts";
import { formatBytes } from "../../ops/units.ts";
import { fail, ok, warn, type Finding } from "../doctor/finding.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { EnvironmentAudit } from "./audit.ts";
import type { Node } from "./look.ts";

/** What the bundled database and the snapshots' pg_dump are. */
const OWN_POSTGRES = 17;

const list = (names: readonly string[]): string => names.join(", ");

function databaseFindings({ names, database, databaseState }: Node, settings: Pick<PlainSettings, "database">): Finding[] {
  if (database === undefined) return [fail("database", `${names.database} is ${databaseState}`, "a database that runs", `docker start ${names.database}`)];
  const { version, versionNumber, role, superuser, owners, tables, bytes, extensions, schema } = database;
  const major = Math.floor(versionNumber / 10_000);
  const found = `PostgreSQL ${version} in ${names.database}: database ${database.database}, ${tables} tables, ${formatBytes(bytes)}`;
  const findings = [major >= 14 && major <= OWN_POSTGRES ? ok("database", found) : fail("database", found, `PostgreSQL 14 to ${OWN_POSTGRES}`, `bring ${names.database} to one of these first`)];
  findings.push(
    superuser
      ? warn("database role", `${role} is a SUPERUSER; tables belong to ${owners.length === 0 ? "nobody yet" : list(owners)}`, "a role that owns the schema and one that reads and writes rows", "the bundled database makes both by itself; for mode external see docs/settings.md")
      : ok("database role", `${role}; tables belong to ${list(owners)}`),
  );
  // Of PostGIS, only the extension itself has to be named.
  const unknown = extensions.filter((name) => !settings.database.extensions.includes(name));
  findings.push(
    unknown.length === 0
      ? ok("extensions", list(extensions) || "none")
      : warn("extensions", `${list(unknown)} ${unknown.length === 1 ? "is" : "are"} not in togather:database.extensions`, "each extension that the database has", `add ${list(unknown)} to togather:database.extensions`),
  );
  if (schema === undefined) findings.push(warn("schema version", "none: golang-migrate never ran here", "a table schema_migrations", "check that this is the server's database"));
  else if (schema.dirty) findings.push(fail("schema version", `${schema.version}, dirty`, "a version that is not dirty", "finish or undo that migration on the old node first"));
  else findings.push(ok("schema version", String(schema.version)));
  return findings;
}

function slotFindings({ names, slots, serving, hasCaddyfile }: Node): Finding[] {
  const findings = slotNames.map((slot): Finding => {
    const one = slots[slot];
    if (one === undefined) return ok(names.slots[slot], "there is none");
    return ok(names.slots[slot], `${one.state}${one.port === undefined ? "" : `, port ${one.port}`}${serving === slot ? "; Caddy's file names it" : ""}`);
  });
  if (serving !== undefined) return findings;
  const why = hasCaddyfile ? `${names.caddyfile} names ${slotNames.some((slot) => slots[slot] !== undefined) ? "neither slot's port, or both" : "no slot that there is"}` : `there is no ${names.caddyfile}`;
  return [...findings, warn("serving", why, "one slot that Caddy sends requests to", "find out which slot serves before anything is moved")];
}

/** Ports that the stack wants and something else has. */
function portFindings({ listening, slots, names }: Node, settings: Pick<PlainSettings, "ports" | "slotPorts" | "databasePort" | "tls" | "database">): Finding[] {
  const wanted: [check: string, port: number, fix: string][] = [
    ["ports.http", settings.ports.http, "togather:ports: { http: 8880, https: 8843 } until Caddy is stopped"],
    ...(settings.tls === undefined ? [] : [["ports.https", settings.ports.https, "togather:ports: { http: 8880, https: 8843 } until Caddy is stopped"] as [string, number, string]]),
    ...slotNames.map((slot): [string, number, string] => [`slotPorts.${slot}`, settings.slotPorts[slot], "togather:slotPorts: { blue: 18080, green: 18081 }"]),
    ...(settings.database.mode === "bundled" ? [["databasePort", settings.databasePort, "togather:databasePort: 15433"] as [string, number, string]] : []),
  ];
  return wanted.map(([key, port, fix]) => {
    const holder = slotNames.find((slot) => slots[slot]?.port === port);
    const busy = listening.has(port) || holder !== undefined;
    const by = holder === undefined ? "something listens on it" : `${names.slots[holder]} has it`;
    return busy ? fail(`togather:${key}`, `${port}: ${by}`, "a port that is free while both run", fix) : ok(`togather:${key}`, `${port} is free`);
  });
}

/** What an audit found, by name and never by value. */
export function auditFindings(audit: EnvironmentAudit, file: string, template: string | undefined): Finding[] {
  const { missing, extra, unread, placeholders, cut, moves } = audit;
  const findings: Finding[] = [];
  if (template === undefined) findings.push(warn("template", "none in the server's repository", "the template of the environment file", "--template FILE names one"));
  else {
    findings.push(missing.length === 0 ? ok("missing", `nothing of ${template}`) : warn("missing", list(missing), `each variable of ${template}`, `add those that this node needs to ${file}`));
    findings.push(extra.length === 0 ? ok("extra", "nothing") : warn("extra", list(extra), `only variables of ${template}`, "leave out those that nothing needs"));
  }
  if (unread === undefined) findings.push(warn("read by nothing", "the server's Go files are not in togather:source.repository", "its source, to tell", "git clone it there, or point togather:source.repository to it"));
  else findings.push(unread.length === 0 ? ok("read by nothing", "each is named by the server's Go files") : warn("read by nothing", list(unread), "variables that the server's Go files name", "leave them out, unless another program reads them"));
  if (placeholders.length > 0) findings.push(warn("placeholders", list(placeholders), "values of your own", `replace them in ${file}`));
  if (cut.length > 0) findings.push(fail("cut off", list(cut), "no # outside of quotes, behind which a value ends", `put the values in single quotes in ${file}`));
  const where: [string, string[], string][] = [
    ["secrets", moves.secrets, "to the stack's secrets file; names other than JWT_SECRET and ADMIN_API_KEY go into togather:source.secrets too"],
    ["plain settings", moves.settings, "to togather:source.environment"],
    ["set by the deployment", moves.deployment, "left out"],
    ["of the old database", moves.database, "left out"],
  ];
  return [...findings, ...where.filter(([, names]) => names.length > 0).map(([check, names, what]) => ok(check, `${list(names)}: ${what}`))];
}

/** What a look at a node says about taking it over with these settings. */
export function nodeFindings(node: Node, settings: Pick<PlainSettings, "database" | "ports" | "slotPorts" | "databasePort" | "tls">): Finding[] {
  const environment = node.environmentFile === undefined
    ? [fail("environment file", `${node.names.environmentFile} is not on the Docker host`, "the old server's environment file", "togather env audit FILE looks at one that is elsewhere")]
    : [ok("environment file", node.names.environmentFile)];
  return [...databaseFindings(node, settings), ...slotFindings(node), ...portFindings(node, settings), ...environment];
}
