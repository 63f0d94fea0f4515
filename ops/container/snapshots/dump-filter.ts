/** Filters that leave out or change parts of a dump for the server that it is restored into. */
import { Transform } from "node:stream";
import pg from "pg";

/** Skips the first bytes: the roles, which the server already has. */
export function skipBytes(count: number): Transform {
  let left = count;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const skipped = Math.min(left, chunk.length);
      left -= skipped;
      done(null, skipped === 0 ? chunk : chunk.subarray(skipped));
    },
  });
}

/**
 * Filters whole lines, each with its line end. Text after the last line end passes unchanged.
 * @param line writes the line, or what remains of it, into `out`.
 * @param first is written before a dump that is not empty.
 * @param heldBack what `line` has kept for later, written at the end.
 * @param done whether nothing more is to be changed.
 */
function byLine(
  line: (whole: Buffer, out: Buffer[]) => void,
  { first, heldBack, done: isDone }: { first?: Buffer; heldBack?: () => Buffer | undefined; done?: () => boolean },
): Transform {
  let rest: Buffer | undefined;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const out: Buffer[] = rest === undefined && first !== undefined ? [first] : [];
      const all = rest === undefined || rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let from = 0;
      for (let end = all.indexOf(10); end !== -1 && isDone?.() !== true; end = all.indexOf(10, from)) {
        line(all.subarray(from, end + 1), out);
        from = end + 1;
      }
      rest = all.subarray(from);
      if (isDone?.() === true) {
        out.push(rest);
        rest = Buffer.alloc(0);
      }
      done(null, Buffer.concat(out));
    },
    flush(done) {
      done(null, Buffer.concat([heldBack?.() ?? Buffer.alloc(0), rest ?? Buffer.alloc(0)]));
    },
  });
}

const commentOnExtension = /^COMMENT ON EXTENSION \S+ IS '.*';$/;
const copy = /^COPY .* FROM stdin;$/;

/**
 * Leaves out statements that only a superuser may run and that change nothing: comments on extensions, and copying no
 * rows into a table such as PostGIS's.
 */
export function withoutSuperuserStatements(): Transform {
  let inData = false;
  /** A COPY whose first row has not been seen yet. */
  let held: Buffer | undefined;
  const line = (whole: Buffer, out: Buffer[]): void => {
    const text = whole.subarray(0, -1);
    if (held !== undefined) {
      const head = held;
      held = undefined;
      if (text.equals(Buffer.from("\\."))) return;
      out.push(head);
      inData = true;
    }
    if (inData) {
      if (text.equals(Buffer.from("\\."))) inData = false;
      out.push(whole);
    } else if (text[0] === 0x43 && copy.test(text.toString())) held = whole;
    else if (text[0] !== 0x43 || !commentOnExtension.test(text.toString())) out.push(whole);
  };
  return byLine(line, { heldBack: () => held });
}

/** Statements that pg_dump always sorts after all extensions. */
const behindExtensions = /^CREATE (?!(?:OR REPLACE )?(?:EXTENSION|SCHEMA|COLLATION|TRUSTED|PROCEDURAL|TRANSFORM) )/;

const setval = /^SELECT pg_catalog\.setval\('(.*)', -?\d+, (?:true|false)\);$/;

/**
 * Lets a role create a dump without owners: it then owns everything except the extensions. Extensions, and rows in
 * their tables, are created by the session's own role, which has the right to.
 * @param role name as SQL writes it.
 * @param extensionRelations tables and sequences of extensions, in the same way.
 */
export function madeBy(role: string, extensionRelations: ReadonlySet<string>): Transform {
  const [set, reset] = [Buffer.from(`SET ROLE ${role};\n`), Buffer.from("RESET ROLE;\n")];
  let inData: "own" | "extension" | undefined;
  // Extensions come before any data that could look like one.
  let extensionsAreMade = false;
  const line = (whole: Buffer, out: Buffer[]): void => {
    const text = whole.subarray(0, -1);
    if (inData !== undefined) {
      out.push(whole);
      if (!text.equals(Buffer.from("\\."))) return;
      if (inData === "extension") out.push(set);
      inData = undefined;
      return;
    }
    // C or S: only lines that begin with these letters are examined.
    const words = text[0] === 0x43 || text[0] === 0x53 ? text.toString() : "";
    if (copy.test(words)) {
      inData = extensionRelations.has(words.replace(/^COPY (.*?)(?: \(.*\))? FROM stdin;$/, "$1"))
        ? "extension"
        : "own";
      out.push(...(inData === "extension" ? [reset] : []), whole);
      return;
    }
    const [, sequence] = setval.exec(words) ?? [];
    const isExtension =
      !extensionsAreMade && (/^CREATE EXTENSION IF NOT EXISTS /.test(words) || commentOnExtension.test(words));
    if (isExtension || (sequence !== undefined && extensionRelations.has(sequence.replaceAll("''", "'"))))
      out.push(reset, whole, set);
    else out.push(whole);
    if (behindExtensions.test(words)) extensionsAreMade = true;
  };
  return byLine(line, { first: set });
}

/**
 * Lets extensions be created by the roles that owned them, which no dump names: later migrations can change or drop an
 * extension only as its owner. Where such a role lacks the right now, the session's own role creates them, as without
 * this filter.
 * @param owners by extension.
 */
export function extensionsMadeBy(owners: Readonly<Record<string, string>>): Transform {
  let extensionsAreMade = false;
  const line = (whole: Buffer, out: Buffer[]): void => {
    const text = whole[0] === 0x43 ? whole.subarray(0, -1).toString() : "";
    const [, quoted, where = ""] =
      /^CREATE EXTENSION IF NOT EXISTS ("(?:[^"]|"")+"|\S+)( WITH SCHEMA .*)?;$/.exec(text) ?? [];
    const owner = quoted === undefined ? undefined : owners[quoted.replace(/^"|"$/g, "").replaceAll('""', '"')];
    if (quoted !== undefined && owner !== undefined && !`${quoted}${where}${owner}`.includes("$togather$")) {
      const make = `SET LOCAL ROLE ${pg.escapeIdentifier(owner)}; CREATE EXTENSION ${quoted}${where};`;
      out.push(
        Buffer.from(
          `DO $togather$ BEGIN ${make} EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL; END $togather$;\n`,
        ),
      );
    }
    out.push(whole);
    if (behindExtensions.test(text)) extensionsAreMade = true;
  };
  return byLine(line, { done: () => extensionsAreMade });
}

/** Settings are at the beginning of a dump. A later line that looks like one may be data. */
const settingsBytes = 8192;
const newerSetting = /^SET transaction_timeout = 0;\r?\n/m;

/** Whether a server knows all settings that this project's pg_dump writes at the beginning of a dump. */
export const knowsSettings = (serverVersion: number): boolean => serverVersion >= 170_000;

/** Changes the settings at the beginning of a dump. */
function withSettings(change: (text: string) => string): Transform {
  let head: Buffer | undefined = Buffer.alloc(0);
  // latin1 keeps each byte as it is.
  const filtered = (bytes: Buffer): Buffer => Buffer.from(change(bytes.toString("latin1")), "latin1");
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (head === undefined) {
        done(null, chunk);
        return;
      }
      head = Buffer.concat([head, chunk]);
      if (head.length < settingsBytes) {
        done();
        return;
      }
      const out = head;
      head = undefined;
      done(null, Buffer.concat([filtered(out.subarray(0, settingsBytes)), out.subarray(settingsBytes)]));
    },
    flush(done) {
      done(null, head === undefined ? undefined : filtered(head));
    },
  });
}

/**
 * Leaves out the setting that pg_dump and pg_restore 17 write and servers before 17 don't know. Its value 0 means no
 * limit, the same as without it.
 */
export function withoutNewerSettings(): Transform {
  return withSettings((text) => text.replace(newerSetting, ""));
}

const emptySearchPath = /^SELECT pg_catalog\.set_config\('search_path', '', false\);$/m;

/**
 * Sets a search path where the dump sets an empty one.
 * @param searchPath as SQL writes it: `public, "more"`.
 */
export function withSearchPath(searchPath: string): Transform {
  const literal = Buffer.from(searchPath.replaceAll("'", "''")).toString("latin1");
  return withSettings((text) =>
    text.replace(emptySearchPath, () => `SELECT pg_catalog.set_config('search_path', '${literal}', false);`),
  );
}
