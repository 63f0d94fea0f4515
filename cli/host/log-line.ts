import { styleText } from "node:util";

interface LogLine extends Record<string, unknown> {
  level?: string;
  time?: string;
  phase?: string;
  message?: string;
}

const colours = { DEBUG: "dim", INFO: "cyan", SUCCESS: "green", WARN: "yellow", ERROR: "red" } as const;

function parse(line: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as LogLine) : undefined;
  } catch {
    return undefined;
  }
}

/** A line of a deployment's log as text for people; other lines are unchanged. */
export function prettyLine(line: string): string {
  const entry = parse(line);
  if (entry?.message === undefined) return line;
  const { level = "INFO", time, phase = "", message, hint, ...fields } = entry;
  const colour = (colours as Partial<Record<string, (typeof colours)[keyof typeof colours]>>)[level] ?? "white";
  const rest = Object.entries(fields)
    .filter(([key, value]) => key !== "deployment_id" && value !== undefined && value !== null)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const clock = time === undefined ? "        " : time.slice(11, 19);
  const first = `${styleText("dim", clock)} ${styleText(colour, level.padEnd(7))} ${phase.padEnd(8)} ${message}${rest.length === 0 ? "" : styleText("dim", `  ${rest.join(" ")}`)}`;
  return typeof hint === "string" ? `${first}\n${" ".repeat(26)}→ ${hint}` : first;
}

/** Whether a line is the one with which a successful deployment ends. */
export const isSuccess = (line: string): boolean => parse(line)?.level === "SUCCESS";
