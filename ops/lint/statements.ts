/** Parses a migration with PostgreSQL's own parser: its statements, with their lines and the comments before them. */
import { setFlagsFromString } from "node:v8";
import type { Node, ParseResult } from "libpg-query";

/** A comment `-- togather:allow RULE reason`. */
export interface Allow {
  line: number;
  rule: string;
  reason: string;
}

export interface Statement {
  node: Node;
  /** First and last line, from 1. */
  line: number;
  lastLine: number;
  /** From the comments between the previous statement and this one. */
  allows: Allow[];
}

export interface ParsedFile {
  statements: Statement[];
  /** Comments after the last statement: they allow nothing. */
  rest: Allow[];
  /** The line of a position from the parser (bytes). */
  lineAt: (position: number) => number;
}

/** The parser rejects the file. */
export class SqlSyntaxError extends Error {
  readonly line: number;
  constructor(message: string, line: number) {
    super(message);
    this.line = line;
  }
}

const space = 0x20,
  newline = 0x0a,
  minus = 0x2d,
  slash = 0x2f,
  star = 0x2a,
  semicolon = 0x3b;
const isSpace = (byte: number | undefined): boolean =>
  byte === space || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);

/** The position of the first token, and the one-line comments before it with their positions. Block comments nest. */
function skipComments(sql: Buffer, from: number): { start: number; comments: { at: number; text: string }[] } {
  const comments: { at: number; text: string }[] = [];
  let at = from;
  for (;;) {
    const byte = sql[at];
    if (isSpace(byte) || byte === semicolon) at += 1;
    else if (byte === minus && sql[at + 1] === minus) {
      const end = sql.indexOf(newline, at);
      const next = end === -1 ? sql.length : end;
      comments.push({ at, text: sql.subarray(at + 2, next).toString() });
      at = next;
    } else if (byte === slash && sql[at + 1] === star) {
      let depth = 0;
      do {
        if (sql[at] === slash && sql[at + 1] === star) depth += 1;
        else if (sql[at] === star && sql[at + 1] === slash) depth -= 1;
        else {
          at += 1;
          continue;
        }
        at += 2;
      } while (depth > 0 && at < sql.length);
    } else return { start: at, comments };
  }
}

/**
 * Loaded on first use: a deployment without migrations to check doesn't pay for the parser. V8 would compile it again in
 * other threads, optimized. That takes longer than reading the files does: 0.8 s of processors in all, and 0.3 s without.
 */
async function parser(): Promise<typeof import("libpg-query")> {
  for (const flag of ["--no-wasm-tier-up", "--no-wasm-dynamic-tiering"]) setFlagsFromString(flag);
  return import("libpg-query");
}

/** @throws {SqlSyntaxError} */
export async function parseFile(text: string): Promise<ParsedFile> {
  const sql = Buffer.from(text);
  const lineAt = (position: number): number => {
    let line = 1;
    for (let at = sql.indexOf(newline); at !== -1 && at < position; at = sql.indexOf(newline, at + 1)) line += 1;
    return line;
  };
  const allowsIn = (comments: readonly { at: number; text: string }[]): Allow[] =>
    comments.flatMap(({ at, text: comment }) => {
      const match = /^\s*togather:allow\b\s*(\S*)\s*(.*?)\s*$/.exec(comment);
      return match === null ? [] : [{ line: lineAt(at), rule: match[1] ?? "", reason: match[2] ?? "" }];
    });

  // The parser refuses an empty text, but not one with only comments.
  const { parse, hasSqlDetails } = await parser();
  let parsed: ParseResult;
  try {
    parsed = text.trim() === "" ? {} : ((await parse(text)) as ParseResult);
  } catch (error) {
    if (!(error instanceof Error) || !hasSqlDetails(error)) throw error;
    // Characters, not bytes: that is how PostgreSQL counts here.
    const before = Array.from(text).slice(0, Math.max(0, error.sqlDetails.cursorPosition)).join("");
    throw new SqlSyntaxError(error.sqlDetails.message, before.split("\n").length);
  }
  let end = 0;
  const statements = (parsed.stmts ?? []).flatMap(({ stmt, stmt_location, stmt_len }): Statement[] => {
    if (stmt === undefined) return [];
    const from = stmt_location ?? 0;
    const { start, comments } = skipComments(sql, from);
    end = stmt_len === undefined ? sql.length : from + stmt_len;
    return [{ node: stmt, line: lineAt(start), lastLine: lineAt(end), allows: allowsIn(comments) }];
  });
  return { statements, rest: allowsIn(skipComments(sql, end).comments), lineAt };
}
