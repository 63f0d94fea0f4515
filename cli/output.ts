import { Console } from "node:console";
import { stripVTControlCharacters, styleText } from "node:util";

/** Where a command says what it does: to people, or, with --json, one JSON document to a machine. */
export class Output {
  readonly json: boolean;

  constructor(json: boolean) {
    this.json = json;
    // Whatever else prints, the set-up for instance, must not mix with the document.
    if (json) globalThis.console = new Console(process.stderr, process.stderr);
  }

  /** Where lines for people go. */
  get stream(): NodeJS.WriteStream {
    return this.json ? process.stderr : process.stdout;
  }

  say(text = ""): void {
    this.stream.write(`${text}\n`);
  }

  /** Something that needs attention, however the output is read. */
  warn(text: string): void {
    process.stderr.write(`${styleText("yellow", `WARNING: ${text}`, { stream: process.stderr })}\n`);
  }

  /** The command's result: for people as text, for machines as JSON. */
  result(value: unknown, text: () => string): void {
    process.stdout.write(this.json ? `${JSON.stringify(value, null, 2)}\n` : `${text()}\n`);
  }
}

/** Of several deployments in one command, a machine gets one document: theirs are kept for it. */
export class Collected extends Output {
  readonly results: unknown[] = [];
  override result(value: unknown, text: () => string): void {
    if (this.json) this.results.push(value);
    else super.result(value, text);
  }
}

/** Rows as columns, as wide as they need to be. */
export function columns(rows: readonly (readonly string[])[], gap = 2): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, stripVTControlCharacters(cell).length)));
  return rows
    .map((row) =>
      row
        .map((cell, index) =>
          index === row.length - 1
            ? cell
            : cell + " ".repeat((widths[index] ?? 0) - stripVTControlCharacters(cell).length + gap),
        )
        .join("")
        .trimEnd(),
    )
    .join("\n");
}

/** `3 h`, `12 s`: how long ago. */
export function ago(time: string, now = Date.now()): string {
  const s = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (s < 120) return `${s} s`;
  if (s < 120 * 60) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

/** `2026-01-28 14:30:22Z` */
export const at = (time: string): string => `${new Date(time).toISOString().slice(0, 19).replace("T", " ")}Z`;

/** Scripts of package.json whose reader has this program by npm, and may have none on the PATH. */
const npmScripts = ["togather", "start", "pulumi"];

/** How the reader would call this program again. */
export function invocation(args: string): string {
  const byNpm = npmScripts.includes(process.env["npm_lifecycle_event"] ?? "");
  return `${byNpm ? "npm run togather --" : "togather"} ${args}`;
}
