/** golang-migrate's files: which there are, and what a failure in one of them leaves behind. */

export interface MigrationFile {
  version: number;
  file: string;
}

/** The `up` files of a directory in the order in which they are applied. As golang-migrate reads names. */
export function upFiles(names: readonly string[]): MigrationFile[] {
  return names
    .flatMap((file) => {
      const match = /^(\d+)_.*\.up\..*$/.exec(file);
      return match === null ? [] : [{ version: Number(match[1]), file }];
    })
    .sort((a, b) => a.version - b.version);
}

/** Two files of one version: golang-migrate would refuse all of them, with a message that names one. */
export function duplicateVersion(files: readonly MigrationFile[]): [string, string] | undefined {
  for (const [index, { version, file }] of files.entries()) {
    const next = files[index + 1];
    if (next?.version === version) return [file, next.file];
  }
  return undefined;
}

/**
 * Whether a file is one transaction as PostgreSQL runs it, so that an error in it leaves nothing behind. Several
 * statements sent at once are; not so where one of them ends transactions itself or can't be inside of one.
 * A word that only looks like it (in a function's body) counts too: the answer "no" merely asks a person to look.
 */
export function isOneTransaction(sql: string): boolean {
  const code = sql.replace(/--[^\n]*/g, " ").replace(/\/\*[\s\S]*?\*\//g, " ");
  return !/\b(CONCURRENTLY|COMMIT|ROLLBACK|END\s+TRANSACTION|BEGIN\s*(;|TRANSACTION|WORK|ISOLATION)|START\s+TRANSACTION|PREPARE\s+TRANSACTION|VACUUM|CALL|CREATE\s+DATABASE|DROP\s+DATABASE|TABLESPACE|ALTER\s+SYSTEM|REINDEX|CLUSTER|SUBSCRIPTION|dblink)\b/i.test(code);
}

/** What golang-migrate's last words say about an SQL error. Its message repeats the whole file: that is left out. */
export function describeFailure(stderr: string): { message: string; sqlState: string | undefined } {
  const details = /\(details: ((?:ERROR|FATAL|PANIC|canceling).*?\(SQLSTATE ([0-9A-Z]{5})\))/s.exec(stderr);
  if (details !== null) return { message: details[1] ?? "", sqlState: details[2] };
  const state = /^(.*)\(SQLSTATE ([0-9A-Z]{5})\)/m.exec(stderr);
  if (state !== null) return { message: state[0].replace(/^error: /, ""), sqlState: state[2] };
  const error = stderr.split("\n").findLast((line) => line.startsWith("error:"));
  return { message: (error ?? stderr).replace(/^error: /, "").trim().slice(0, 500), sqlState: undefined };
}

/** The line of the file in which PostgreSQL found the error, as golang-migrate counts it. */
export function failedLine(stderr: string): number | undefined {
  const line = Number(/ in line (\d+):/.exec(stderr)?.[1] ?? 0);
  return line > 0 ? line : undefined;
}
