/**
 * A database with every kind of PostgreSQL object, and a comparison text for it that uses none of this project's code.
 */
import { bundledImageTag } from "../../ops/image.ts";
import { docker } from "../step-harness.ts";

/** An extension with a table for its users' rows, as PostGIS has. Trusted: a database's owner may make it. */
export const extensionFiles: Readonly<Record<string, string>> = {
  "settings_kit.control": "default_version = '1.0'\nrelocatable = false\ntrusted = true\nschema = kit\n",
  "settings_kit--1.0.sql": `CREATE TABLE kit_settings (name text PRIMARY KEY, value text, own boolean NOT NULL DEFAULT true);
    INSERT INTO kit_settings VALUES ('made by the extension', 'x', false);
    SELECT pg_catalog.pg_extension_config_dump('kit_settings', 'WHERE own');
    GRANT SELECT, INSERT, UPDATE, DELETE ON kit_settings TO PUBLIC;`,
};

/** Names of a database's roles. */
export interface Roles {
  /** Begins them all, and is the database's name. */
  prefix: string;
  owner: string;
  app: string;
  reader: string;
}
export const rolesOf = (prefix: string, owner = `${prefix}_owner`): Roles => ({
  prefix,
  owner,
  app: `${prefix}_app`,
  reader: `${prefix}_reader`,
});

const publicSchema = (reader: string): string =>
  `COMMENT ON SCHEMA public IS 'it''s the main one'; REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO ${reader} WITH GRANT OPTION;`;

/** The owner's objects: each kind that a role without further rights can create. */
export function ownersSchema({ app, reader }: Roles, major: number): string {
  return `
    CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION btree_gist; CREATE SCHEMA kit; CREATE EXTENSION settings_kit;
    ${major >= 15 ? publicSchema(reader) : ""}
    CREATE SCHEMA app; CREATE SCHEMA "Odd ""one"; COMMENT ON SCHEMA app IS E'with\\nlines and \\\\ $$';
    GRANT USAGE ON SCHEMA app TO ${app}, ${reader};
    ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ${app};
    ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON SEQUENCES TO ${app};
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO ${reader};
    CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'it''s'); CREATE TYPE app.pair AS (a int, b text); CREATE TYPE app.span AS RANGE (subtype = float8);
    CREATE DOMAIN app.email AS text COLLATE "C" NOT NULL DEFAULT 'a@b' CONSTRAINT has_at CHECK (VALUE LIKE '%@%'); COMMENT ON DOMAIN app.email IS 'checked';
    CREATE COLLATION app.german (provider = libc, locale = 'C');
    CREATE SEQUENCE app.numbers AS int INCREMENT 7 MINVALUE 3 CACHE 5 CYCLE; SELECT nextval('app.numbers'), nextval('app.numbers');
    CREATE FUNCTION app.double(int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 3 AS 'SELECT $1 * 2';
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = app, pg_temp AS $body$ BEGIN NEW.note := coalesce(NEW.note, 'touched'); RETURN NEW; END $body$;
    CREATE PROCEDURE app.nothing(INOUT x int DEFAULT 1) LANGUAGE plpgsql AS 'BEGIN x := x + 1; END';
    CREATE FUNCTION app.sum_step(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + coalesce($2, 0)';
    CREATE AGGREGATE app.sums(int) (SFUNC = app.sum_step, STYPE = int, INITCOND = '0');
    CREATE OPERATOR app.#+# (LEFTARG = int, RIGHTARG = int, FUNCTION = app.sum_step, COMMUTATOR = OPERATOR(app.#+#));
    GRANT EXECUTE ON FUNCTION app.double(int) TO ${app}; REVOKE ALL ON FUNCTION app.touch() FROM PUBLIC;
    CREATE TEXT SEARCH DICTIONARY app.plain (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION app.words (COPY = simple);
    CREATE TABLE app.events (id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 3) PRIMARY KEY, day date NOT NULL, name text NOT NULL, mood app.mood DEFAULT 'ok', mail app.email,
      size int, twice int GENERATED ALWAYS AS (app.double(size)) STORED, tags text[], data jsonb, extra hstore, raw bytea, amount numeric, ratio float8, at timestamptz, took interval, span app.span, who app.pair, addr inet, bits bit(4), note text,
      CONSTRAINT sized CHECK (size > 0 OR size IS NULL)${major >= 18 ? ", half int GENERATED ALWAYS AS (size / 2) VIRTUAL" : ""});
    INSERT INTO app.events (day, name, mood, mail, size, tags, data, extra, raw, amount, ratio, at, took, span, who, addr, bits)
      SELECT '2026-01-01'::date + n, CASE n % 5 WHEN 0 THEN E'tab\\tline\\nback\\\\slash' WHEN 1 THEN '' WHEN 2 THEN '\\.' WHEN 3 THEN 'SET transaction_timeout = 0;' ELSE 'größer ''' || n END, CASE WHEN n % 2 = 0 THEN 'it''s'::app.mood END, n || '@example.org', n,
        ARRAY['a', NULL, 'b"c'], jsonb_build_object('n', n, 'f', 1e100), hstore('k', NULL), decode(md5(n::text), 'hex'), CASE WHEN n = 7 THEN 'NaN' ELSE n / 3.0 END, CASE WHEN n = 8 THEN '-Infinity' ELSE 1.0 / n END,
        CASE WHEN n = 9 THEN 'infinity' ELSE '2026-03-29 01:59:59.999999+01'::timestamptz + n * interval '1 hour' END, make_interval(months => n, secs => n / 7.0), app.span(n, n + 0.5), ROW(n, NULL)::app.pair, '10.0.0.1', B'1010' FROM generate_series(1, 400) n;
    CREATE INDEX events_name ON app.events USING gin (name gin_trgm_ops) WITH (fastupdate = off); CREATE UNIQUE INDEX ON app.events (lower(name), id) INCLUDE (day) WHERE size > 3;
    CREATE STATISTICS app.dependent (dependencies) ON day, size FROM app.events; ALTER TABLE app.events ALTER COLUMN name SET STATISTICS 500; ALTER TABLE app.events CLUSTER ON events_pkey; ALTER TABLE app.events REPLICA IDENTITY FULL;
    ALTER TABLE app.events SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01); ALTER TABLE app.events ALTER COLUMN raw SET STORAGE EXTERNAL;
    COMMENT ON TABLE app.events IS 'all of them; SET transaction_timeout = 0;'; COMMENT ON COLUMN app.events.name IS 'its name'; COMMENT ON INDEX app.events_name IS 'by trigrams'; COMMENT ON CONSTRAINT sized ON app.events IS 'more than none';
    CREATE TRIGGER touched BEFORE UPDATE ON app.events FOR EACH ROW WHEN (NEW.size > 5) EXECUTE FUNCTION app.touch(); ALTER TABLE app.events DISABLE TRIGGER touched;
    GRANT SELECT (id, name), UPDATE (note) ON app.events TO ${reader}; REVOKE DELETE ON app.events FROM ${app};
    CREATE TABLE app.parted (id int, region text, v text DEFAULT 'x', PRIMARY KEY (id, region)) PARTITION BY LIST (region);
    CREATE TABLE app.parted_eu PARTITION OF app.parted FOR VALUES IN ('eu') PARTITION BY RANGE (id); CREATE TABLE app.parted_eu_1 PARTITION OF app.parted_eu FOR VALUES FROM (0) TO (50);
    CREATE TABLE app.parted_eu_2 PARTITION OF app.parted_eu DEFAULT; CREATE TABLE app.parted_rest PARTITION OF app.parted DEFAULT; CREATE TABLE app.detached (LIKE app.parted INCLUDING ALL); ALTER TABLE app.parted ATTACH PARTITION app.detached FOR VALUES IN ('us');
    INSERT INTO app.parted SELECT n, (ARRAY['eu', 'us', 'xx'])[n % 3 + 1] FROM generate_series(1, 120) n; CREATE INDEX parted_v ON app.parted (v);
    CREATE TABLE app.child (more int) INHERITS (app.events); INSERT INTO app.child (id, day, name, mail, more) OVERRIDING SYSTEM VALUE VALUES (1, '0044-03-15 BC', 'inherited', 'c@d', 5);
    CREATE TABLE app.refs (id int PRIMARY KEY, event bigint REFERENCES app.events ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, self int, slot int4range, CONSTRAINT apart EXCLUDE USING gist (slot WITH &&), CONSTRAINT late FOREIGN KEY (self) REFERENCES app.refs NOT VALID);
    INSERT INTO app.refs SELECT n, 97 + 3 * n, n, int4range(n, n + 1) FROM generate_series(1, 50) n;
    CREATE UNLOGGED TABLE app.fleeting (id int); INSERT INTO app.fleeting VALUES (1), (2);
    CREATE TABLE app.secret (id serial PRIMARY KEY, tenant text NOT NULL, what text); ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY; GRANT ALL ON app.secret TO ${reader};
    CREATE POLICY by_tenant ON app.secret AS RESTRICTIVE FOR SELECT TO ${reader} USING (tenant = current_setting('app.tenant', true)); CREATE POLICY mine ON app.secret TO ${app} USING (true) WITH CHECK (what <> ''); COMMENT ON POLICY mine ON app.secret IS 'the server''s';
    INSERT INTO app.secret (tenant, what) SELECT 't' || n % 3, md5(n::text) FROM generate_series(1, 60) n;
    CREATE VIEW app.small WITH (security_barrier) AS SELECT id, name FROM app.events WHERE size < 50 WITH LOCAL CHECK OPTION; CREATE RULE quiet AS ON DELETE TO app.small DO INSTEAD NOTHING;
    CREATE MATERIALIZED VIEW app.counts AS SELECT day, count(*) AS n FROM app.events GROUP BY day; CREATE UNIQUE INDEX ON app.counts (day); CREATE MATERIALIZED VIEW app.empty AS SELECT 1 AS one WITH NO DATA;
    GRANT SELECT ON app.counts TO ${reader} WITH GRANT OPTION;
    CREATE TABLE "Odd ""one"."select" ("from ""where" int, "ü" text COLLATE app.german); INSERT INTO "Odd ""one"."select" VALUES (1, 'ä'), (2, NULL);
    CREATE TABLE app.nothing_in_it (); CREATE TABLE app.dropped (a int, b int, c text); INSERT INTO app.dropped VALUES (1, 2, 'three'); ALTER TABLE app.dropped DROP COLUMN b, ADD COLUMN d int DEFAULT 4;
    CREATE PUBLICATION changes FOR TABLE app.events, app.parted WITH (publish = 'insert, update', publish_via_partition_root = true);
    SELECT lo_from_bytea(424242, 'large'), lo_from_bytea(424243, decode(repeat('00ff', 5000), 'hex')); GRANT SELECT ON LARGE OBJECT 424242 TO ${reader}; COMMENT ON LARGE OBJECT 424243 IS 'big';
    INSERT INTO kit.kit_settings VALUES ('ours', 'it''s', true);
    CREATE TABLE app.schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO app.schema_migrations VALUES (7, false);
    ${major >= 15 ? `CREATE VIEW app.invoked WITH (security_invoker) AS SELECT id FROM app.secret; CREATE TABLE app.distinct_nulls (a int, UNIQUE NULLS NOT DISTINCT (a)); CREATE PUBLICATION filtered FOR TABLE app.refs (id, event) WHERE (id > 10);` : ""}
    ${major >= 18 ? "CREATE TABLE app.periods (id int, during daterange, PRIMARY KEY (id, during WITHOUT OVERLAPS)); CREATE TABLE app.loose (a int, CONSTRAINT unforced CHECK (a > 0) NOT ENFORCED); INSERT INTO app.loose VALUES (-1); ALTER TABLE app.loose ADD CONSTRAINT later NOT NULL a NOT VALID;" : ""}
    ALTER TABLE app.secret ALTER COLUMN what SET DEFAULT 'x';`;
}

/** A superuser's objects: kinds that nobody else may create, and owners other than the database's. */
export function superusersSchema({ reader }: Roles, major: number): string {
  return `
    ${major < 15 ? publicSchema(reader) : ""}
    CREATE FUNCTION app.noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END'; CREATE EVENT TRIGGER noted ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION app.noted(); COMMENT ON EVENT TRIGGER noted IS 'looks';
    CREATE PUBLICATION everything FOR ALL TABLES; ${major >= 15 ? "CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA app;" : ""}
    CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere OPTIONS (host 'x'); CREATE USER MAPPING FOR ${reader} SERVER far OPTIONS ("user" 'u'); CREATE FOREIGN TABLE app.remote (id int) SERVER far; GRANT USAGE ON FOREIGN SERVER far TO ${reader};
    CREATE CAST (app.mood AS int) WITH INOUT; CREATE SCHEMA others AUTHORIZATION ${reader}; CREATE TABLE others.theirs (id int); INSERT INTO others.theirs VALUES (5); ALTER TABLE others.theirs OWNER TO ${reader};
    GRANT SELECT ON pg_catalog.pg_authid TO ${reader}; REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC;
    CREATE EXTENSION pg_stat_statements; INSERT INTO kit.kit_settings VALUES ('a superuser''s', NULL, true);
    ALTER DEFAULT PRIVILEGES FOR ROLE ${reader} IN SCHEMA others GRANT SELECT ON TABLES TO PUBLIC;`;
}

/** Of the database itself, as far as its owner may set it. */
export function ownersSettings({ prefix, app, reader, owner }: Roles): string {
  return `
    ALTER DATABASE ${prefix} SET search_path TO app, public; ALTER DATABASE ${prefix} SET timezone TO 'Europe/Vienna'; ALTER DATABASE ${prefix} SET datestyle TO 'German, DMY';
    ALTER DATABASE ${prefix} SET bytea_output TO 'escape'; ALTER DATABASE ${prefix} SET intervalstyle TO 'sql_standard'; ALTER DATABASE ${prefix} SET temp_tablespaces TO ''; ALTER DATABASE ${prefix} CONNECTION LIMIT 90;
    ALTER ROLE ${owner} IN DATABASE ${prefix} SET quote_all_identifiers TO off; COMMENT ON DATABASE ${prefix} IS E'two\\nlines';
    REVOKE ALL ON DATABASE ${prefix} FROM PUBLIC; GRANT CONNECT ON DATABASE ${prefix} TO ${app}; GRANT TEMPORARY ON DATABASE ${prefix} TO ${reader} WITH GRANT OPTION;`;
}

/** Settings that need an administrator of roles. */
export function othersSettings({ prefix, app, reader }: Roles): string {
  return `
    ALTER ROLE ${app} IN DATABASE ${prefix} SET search_path TO "$user", app; ALTER ROLE ${app} IN DATABASE ${prefix} SET statement_timeout TO '30s'; ALTER ROLE ${reader} SET work_mem TO '5MB';`;
}

/** Settings that need a superuser. */
export const superusersSettings = ({ prefix }: Roles): string => `ALTER DATABASE ${prefix} SET "app.flag" TO 'it''s'`;

/** Each row of each table, sequences, large objects, and what pg_dump's text does not tell of objects. */
const rowsQuery = `
SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 3; SET search_path = '';
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\\n'' ORDER BY t::text COLLATE "C")) FROM ONLY %I.%I t', n.nspname || '.' || c.relname, n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY n.nspname, c.relname
\\gexec
SELECT schemaname, sequencename, last_value, start_value, increment_by, cycle, cache_size FROM pg_catalog.pg_sequences ORDER BY 1, 2;
SELECT m.oid, pg_catalog.pg_get_userbyid(lomowner), lomacl, (SELECT pg_catalog.md5(pg_catalog.lo_get(m.oid))) FROM pg_catalog.pg_largeobject_metadata m ORDER BY 1;
SELECT extname, extversion, extnamespace::regnamespace, pg_catalog.pg_get_userbyid(extowner), extconfig::regclass[]::text FROM pg_catalog.pg_extension ORDER BY 1;
SELECT c.oid::regclass, c.relacl FROM pg_catalog.pg_class c JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' WHERE c.relacl IS NOT NULL ORDER BY c.oid::regclass::text COLLATE "C";
SELECT indexrelid::regclass, indisvalid, indisclustered, indisreplident FROM pg_catalog.pg_index WHERE indexrelid >= 16384 AND indrelid::regclass::text !~ 'pg_toast' ORDER BY indexrelid::regclass::text COLLATE "C";
`;

/** Takes pictures of databases, with the client of PostgreSQL 18 and as a superuser. */
export class Photographer {
  readonly container: string;
  constructor(name: string) {
    this.container = `togather-${name}-photographer`;
  }
  async start(network: string): Promise<void> {
    await docker(
      ...["run", "--detach", `--name=${this.container}`, `--network=${network}`, "--entrypoint=sleep"],
      ...[bundledImageTag("ops"), "infinity"],
    );
  }

  /** Its schema with rights, owners, settings and roles as pg_dump and pg_dumpall tell them, and its rows by checksums. */
  async picture(url: string, roles: Roles): Promise<string> {
    const script = `set -eu; export PATH=/usr/lib/postgresql/18/bin:$PATH
      pg_dump --schema-only --create --dbname="$URL" | grep -vE '^.(un)?restrict '
      echo "== roles"; pg_dumpall --roles-only --dbname="$URL" | grep -vE '^.(un)?restrict ' | grep -E "$ROLES"
      echo "== rows"; psql -X -v ON_ERROR_STOP=1 -At "$URL" <<'SQL'
${rowsQuery}
SQL`;
    const text = await docker(
      ...["exec", `--env=URL=${url}`, `--env=ROLES=${roles.prefix}|${roles.owner}`, this.container, "sh", "-c", script],
    );
    // Removes words that differ each time, options that a database's owner is not shown, and numbers that servers
    // assign (an older client prints them).
    return text
      .replace(/^(CREATE USER MAPPING .*) OPTIONS \(\n.*\n\);$/gm, "$1;")
      .replace(/^ALTER .* SET \(pg_attver=\d+\);\n/gm, "");
  }
}
