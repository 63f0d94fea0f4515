/** golang-migrate's files: which there are, and what a failure in one of them leaves behind. */

export interface MigrationFile {
  version: number;
  file: string;
}

/** The number with which a migration's file name begins; NaN where it has none. */
export const versionOf = (file: string): number => Number(/^\d+/.exec(file)?.[0] ?? Number.NaN);

/** The `up` files of a directory in the order in which they are applied. As golang-migrate reads names. */
export function upFiles(names: readonly string[]): MigrationFile[] {
  return names
    .flatMap((file) => {
      const match = /^(\d+)_.*\.up\..*$/.exec(file);
      return match === null ? [] : [{ version: Number(match[1]), file }];
    })
    .sort((a, b) => a.version - b.version);
}

/** Files that are meant to be applied, by their names, and that golang-migrate passes over without a word: `2_b.UP.sql`, `3-c.up.sql`. */
export function unreadFiles(names: readonly string[]): string[] {
  const read = new Set(upFiles(names).map(({ file }) => file));
  return names.filter((name) => /^\d.*\.up\./i.test(name) && !read.has(name)).sort();
}

/** Two files of one version: golang-migrate would refuse all of them, with a message that names one. */
export function duplicateVersion(files: readonly MigrationFile[]): [string, string] | undefined {
  for (const [index, { version, file }] of files.entries()) {
    const next = files[index + 1];
    if (next?.version === version) return [file, next.file];
  }
  return undefined;
}

/** The version that comes before another one. */
export function versionBefore(up: readonly MigrationFile[], version: number | null): number | undefined {
  return up.findLast((file) => file.version < (version ?? 0))?.version;
}

/** What golang-migrate's last words say about an SQL error. Its message repeats the whole file: that is left out. */
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
 * Whether the file itself went through, and what failed is golang-migrate's note of it: its table was locked, or the file has left the session as
 * another role, or read-only. golang-migrate begins what a file's own statements fail with by `migration failed`.
 */
export const failedBehindFile = (stderr: string): boolean =>
  describeFailure(stderr).sqlState !== undefined && !/^error: migration failed/m.test(stderr);

/**
 * The line of the file in which PostgreSQL found the error, as golang-migrate counts it. Where PostgreSQL tells no position (a missing right, a
 * row that breaks a constraint), golang-migrate names the first line and the column 0: then it is known only in a file of one statement.
 * @param lines where the file's statements begin.
 */
export function failedLine(stderr: string, lines: readonly number[] = []): number | undefined {
  const line = Number(/\(column [1-9]\d*\)(?:, .*?)? in line (\d+):/s.exec(stderr)?.[1] ?? 0);
  if (line > 0) return line;
  return lines.length === 1 ? lines[0] : undefined;
}
