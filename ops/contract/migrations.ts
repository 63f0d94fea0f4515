/** golang-migrate's files: which there are, and what a failure in one of them leaves behind. */

export interface MigrationFile {
  version: number;
  file: string;
}

/** The number at the beginning of a migration's file name. NaN: none. */
export const versionOf = (file: string): number => Number(/^\d+/.exec(file)?.[0] ?? Number.NaN);

/**
 * The `up` files of a directory in the order in which they are applied. Names are read as golang-migrate reads them.
 */
export function upFiles(names: readonly string[]): MigrationFile[] {
  return names
    .flatMap((file) => {
      const match = /^(\d+)_.*\.up\..*$/.exec(file);
      return match === null ? [] : [{ version: Number(match[1]), file }];
    })
    .sort((a, b) => a.version - b.version);
}

/** Files that look like migrations, but that golang-migrate silently skips: `2_b.UP.sql`, `3-c.up.sql`. */
export function unreadFiles(names: readonly string[]): string[] {
  const read = new Set(upFiles(names).map(({ file }) => file));
  return names.filter((name) => /^\d.*\.up\./i.test(name) && !read.has(name)).sort();
}

/** Two files of one version: golang-migrate would refuse all files, with a message that names one. */
export function duplicateVersion(files: readonly MigrationFile[]): [string, string] | undefined {
  for (const [index, { version, file }] of files.entries()) {
    const next = files[index + 1];
    if (next?.version === version) return [file, next.file];
  }
  return undefined;
}

/** The version before another one. */
export function versionBefore(up: readonly MigrationFile[], version: number | null): number | undefined {
  return up.findLast((file) => file.version < (version ?? 0))?.version;
}

/** The SQL error in golang-migrate's output. Its message repeats the whole file: that is left out. */
export function describeFailure(stderr: string): { message: string; sqlState: string | undefined } {
  const details = /\(details: ((?:ERROR|FATAL|PANIC|canceling).*?\(SQLSTATE ([0-9A-Z]{5})\))/s.exec(stderr);
  if (details !== null) return { message: details[1] ?? "", sqlState: details[2] };
  const state = /^(.*)\(SQLSTATE ([0-9A-Z]{5})\)/m.exec(stderr);
  if (state !== null) return { message: state[0].replace(/^error: /, ""), sqlState: state[2] };
  const error = stderr.split("\n").findLast((line) => line.startsWith("error:"));
  return {
    message: (error ?? stderr)
      .replace(/^error: /, "")
      .trim()
      .slice(0, 500),
    sqlState: undefined,
  };
}

/**
 * Whether the file itself succeeded and golang-migrate failed to record it: its table was locked, or the file has left
 * the session with another role, or read-only. Failures of a file's own statements begin with `migration failed`.
 */
export const failedBehindFile = (stderr: string): boolean =>
  describeFailure(stderr).sqlState !== undefined && !/^error: migration failed/m.test(stderr);

/**
 * The line of the file in which PostgreSQL found the error, as golang-migrate counts it. Where PostgreSQL reports no
 * position (a missing right, a row that breaks a constraint), golang-migrate names line 1 and column 0: then the line
 * is known only in a file of one statement.
 * @param lines first lines of the file's statements.
 */
export function failedLine(stderr: string, lines: readonly number[] = []): number | undefined {
  const line = Number(/\(column [1-9]\d*\)(?:, .*?)? in line (\d+):/s.exec(stderr)?.[1] ?? 0);
  if (line > 0) return line;
  return lines.length === 1 ? lines[0] : undefined;
}
