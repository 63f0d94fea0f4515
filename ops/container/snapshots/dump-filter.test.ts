import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import {
  extensionsMadeBy,
  madeBy,
  skipBytes,
  withoutNewerSettings,
  withoutSuperuserStatements,
  withSearchPath,
} from "./dump-filter.ts";

/** Sends text through a filter, in pieces of `size` bytes. */
async function through(filter: NodeJS.ReadWriteStream, text: string, size: number): Promise<string> {
  const bytes = Buffer.from(text);
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
  return (await buffer(Readable.from(pieces).pipe(filter))).toString();
}

const dump = [
  "CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;",
  "COMMENT ON EXTENSION postgis IS 'PostGIS''s geometry';",
  "COPY public.spatial_ref_sys (srid) FROM stdin;",
  "\\.",
  "COPY public.events (name) FROM stdin;",
  "COMMENT ON EXTENSION x IS 'data';",
  "COPY public.events (name) FROM stdin;",
  "größer\\tß",
  "\\.",
  "COMMENT ON TABLE public.events IS 'kept';",
  "",
].join("\n");

describe("withoutSuperuserStatements", () => {
  const kept = dump
    .split("\n")
    .filter((_line, index) => ![1, 2, 3].includes(index))
    .join("\n");
  it.each([1, 7, 64, 10_000])("leaves out what changes nothing, and no row, in pieces of %i bytes", async (size) => {
    expect(await through(withoutSuperuserStatements(), dump, size)).toBe(kept);
  });
  it("keeps an end without a line break", async () => {
    expect(await through(withoutSuperuserStatements(), "SELECT 1;\nSELECT 2", 4)).toBe("SELECT 1;\nSELECT 2");
  });
});

describe("madeBy", () => {
  const foreign = [
    "CREATE COLLATION topology.before (provider = libc, locale = 'C');",
    "CREATE EXTENSION IF NOT EXISTS postgis_topology WITH SCHEMA topology;",
    "COMMENT ON EXTENSION postgis_topology IS 'PostGIS''s';",
    "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$",
    "CREATE EXTENSION IF NOT EXISTS text WITH SCHEMA public;",
    "$$;",
    "COPY topology.topology (id, name) FROM stdin;",
    "1\tone",
    "\\.",
    "COPY public.topology (id) FROM stdin;",
    "COPY topology.topology (id, name) FROM stdin;",
    "\\.",
    'COPY public."it\'s" FROM stdin;',
    "\\.",
    "SELECT pg_catalog.setval('topology.topology_id_seq', 1, false);",
    "SELECT pg_catalog.setval('public.\"it''s\"', 7, true);",
    "SELECT pg_catalog.setval('public.events_id_seq', 5, true);",
    "",
  ];
  const own = new Set(["topology.topology", "topology.topology_id_seq", 'public."it\'s"']);
  const wrapped = (from: number, to = from): string[] => [
    "RESET ROLE;",
    ...foreign.slice(from, to + 1),
    'SET ROLE "it";',
  ];
  it.each([1, 7, 64, 10_000])(
    "leaves extensions and their rows to the session's own role, in pieces of %i bytes",
    async (size) => {
      const expected = [
        'SET ROLE "it";',
        ...foreign.slice(0, 1),
        ...wrapped(1),
        ...wrapped(2),
        ...foreign.slice(3, 6),
        ...wrapped(6, 8),
        ...foreign.slice(9, 12),
        ...wrapped(12, 13),
        ...wrapped(14),
        ...wrapped(15),
        ...foreign.slice(16),
      ];
      expect(await through(madeBy('"it"', own), foreign.join("\n"), size)).toBe(expected.join("\n"));
    },
  );
});

describe("extensionsMadeBy", () => {
  const text = [
    "CREATE SCHEMA kit;",
    "CREATE COLLATION kit.german (provider = libc, locale = 'C');",
    "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
    'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA "odd ""one";',
    "CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;",
    "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$",
    "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;",
    "$$;",
    "the end",
  ];
  const made = (role: string, what: string): string =>
    `DO $togather$ BEGIN SET LOCAL ROLE ${role}; CREATE EXTENSION ${what}; EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL; END $togather$;`;
  it.each([1, 7, 64, 10_000])("has each made by whom it belonged to, in pieces of %i bytes", async (size) => {
    const filter = extensionsMadeBy({ hstore: "owner", "uuid-ossp": 'we"ird' });
    expect(await through(filter, text.join("\n"), size)).toBe(
      [
        ...text.slice(0, 2),
        made('"owner"', "hstore WITH SCHEMA public"),
        ...text.slice(2, 3),
        made('"we""ird"', '"uuid-ossp" WITH SCHEMA "odd ""one"'),
        ...text.slice(3),
      ].join("\n"),
    );
  });
});

describe("skipBytes", () => {
  it.each([1, 3, 100])("leaves out the beginning, in pieces of %i bytes", async (size) => {
    expect(await through(skipBytes(10), "0123456789abcdef", size)).toBe("abcdef");
    expect(await through(skipBytes(0), "abc", size)).toBe("abc");
  });
});

describe("withoutNewerSettings", () => {
  const preamble = (setting: string): string =>
    `--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n${setting}SET client_encoding = 'UTF8';\n`;
  const rows = `COPY public.t (x) FROM stdin;\ngr\u00f6\u00dfer\n${"x".repeat(9000)}\nSET transaction_timeout = 0;\n\\.\n`;
  it.each([1, 7, 64, 8192, 100_000])(
    "leaves out what an older server does not know, and no row, in pieces of %i bytes",
    async (size) => {
      expect(await through(withoutNewerSettings(), preamble("SET transaction_timeout = 0;\n") + rows, size)).toBe(
        preamble("") + rows,
      );
      expect(await through(withoutNewerSettings(), preamble("SET transaction_timeout = 0;\n"), size)).toBe(
        preamble(""),
      );
      expect(await through(withoutNewerSettings(), preamble(""), size)).toBe(preamble(""));
    },
  );
});

describe("withSearchPath", () => {
  const head =
    "SET client_encoding = 'UTF8';\nSELECT pg_catalog.set_config('search_path', '', false);\nSET row_security = off;\n";
  it.each([1, 64, 10_000])(
    "has names looked up in the schemas that it is given, in pieces of %i bytes",
    async (size) => {
      const row = "COPY a (t) FROM stdin;\nSELECT pg_catalog.set_config('search_path', '', false);\n\\.\n";
      const rest = `${"x".repeat(9_000)}\n${row}`;
      const wanted = `public, "it's $& größer"`;
      const changed = head.replace("'', false", () => "'public, \"it''s $& größer\"', false");
      expect(await through(withSearchPath(wanted), head + rest, size)).toBe(changed + rest);
    },
  );
});
