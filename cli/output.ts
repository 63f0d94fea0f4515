import { Console } from "node:console";
import { stripVTControlCharacters, styleText } from "node:util";

/** The output of a command: text for people, or, with --json, one JSON document. */
export class Output {
  readonly json: boolean;

  constructor(json: boolean) {
    this.json = json;
    // Other output, the set-up's for instance, must not mix with the document.
    if (json) globalThis.console = new Console(process.stderr, process.stderr);
  }

  /** The stream for text. */
  get stream(): NodeJS.WriteStream {
    return this.json ? process.stderr : process.stdout;
  }

  say(text = ""): void {
    this.stream.write(`${text}\n`);
  }

  /** A warning, in both kinds of output. */
  warn(text: string): void {
    process.stderr.write(`${styleText("yellow", `WARNING: ${text}`, { stream: process.stderr })}\n`);
  }

  /** The command's result: as text for people, as JSON for machines. */
  result(value: unknown, text: () => string): void {
    process.stdout.write(this.json ? `${JSON.stringify(value, null, 2)}\n` : `${text()}\n`);
  }
}

/** Keeps the results of several deployments in one command, so that a machine gets one document. */
export class Collected extends Output {
  readonly results: unknown[] = [];
  override result(value: unknown, text: () => string): void {
    if (this.json) this.results.push(value);
    else super.result(value, text);
  }
}

const lengthOf = (text: string): number => stripVTControlCharacters(text).length;

/** Breaks a text into lines of limited length between words; a longer word has its own line. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && lengthOf(last) + 1 + lengthOf(word) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Minimum width of a readable last column, in characters. */
const narrowest = 24;

/**
 * Rows as columns, as wide as they need to be. On a narrow terminal the last column wraps within itself; where there is
 * no room for it, each row is printed on several lines.
 * @param width of the terminal; undefined: no terminal.
 */
export function columns(
  rows: readonly (readonly string[])[],
  gap = 2,
  width: number | undefined = terminalWidth(),
): string {
  return rowsAsColumns(rows, gap, width).join("\n");
}

const terminalWidth = (): number | undefined => (process.stdout.isTTY ? process.stdout.columns : undefined);

/** The same, row by row: a long row has several lines. */
export function rowsAsColumns(
  rows: readonly (readonly string[])[],
  gap = 2,
  width: number | undefined = terminalWidth(),
): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, lengthOf(cell))));
  const padded = (row: readonly string[]): string =>
    row
      .map((cell, index) =>
        index === row.length - 1 ? cell : cell + " ".repeat((widths[index] ?? 0) - lengthOf(cell) + gap),
      )
      .join("")
      .trimEnd();
  return rows.map((row) => {
    const line = padded(row);
    if (width === undefined || lengthOf(line) <= width) return line;
    const indent = widths.slice(0, row.length - 1).reduce((sum, one) => sum + one + gap, 0);
    if (width - indent >= narrowest) {
      const [first = "", ...more] = wrap(row.at(-1) ?? "", width - indent);
      return [padded([...row.slice(0, -1), first]), ...more.map((one) => " ".repeat(indent) + one)].join("\n");
    }
    const [first = "", ...rest] = row.map((cell) => cell.trim()).filter((cell) => cell !== "");
    return [first, ...wrap(rest.join("  "), width - gap).map((one) => " ".repeat(gap) + one)].join("\n");
  });
}

/** Time since then: `3 h`, `12 s`. */
export function ago(time: string, now = Date.now()): string {
  const s = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (s < 120) return `${s} s`;
  if (s < 120 * 60) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

/** `2026-01-28 14:30:22Z` */
export const at = (time: string): string => `${new Date(time).toISOString().slice(0, 19).replace("T", " ")}Z`;

/** Scripts of package.json whose user runs this program through npm, and may not have it on the PATH. */
const npmScripts = ["togather", "start", "pulumi"];

/** The command line with which the reader would call this program again. */
export function invocation(args: string): string {
  const byNpm = npmScripts.includes(process.env["npm_lifecycle_event"] ?? "");
  return `${byNpm ? "npm run togather --" : "togather"} ${args}`;
}
