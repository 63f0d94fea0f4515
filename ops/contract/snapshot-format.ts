/** The formats of snapshots, and their file extensions. */

export const snapshotFormats = ["sql.gz", "sql.zst", "directory"] as const;
/**
 * `sql.gz`: SQL that `gunzip -c | psql` reads. `sql.zst`: the same for `zstd -dc`, written in less time. `directory`:
 * pg_dump's own, with a file for each table, written and restored by several processes at once.
 */
export type SnapshotFormat = (typeof snapshotFormats)[number];

const extensions: Readonly<Record<SnapshotFormat, string>> = {
  "sql.gz": ".sql.gz",
  "sql.zst": ".sql.zst",
  directory: ".dir",
};

/** Added to the extension of a snapshot that age has encrypted. */
const encryptedExtension = ".age";

/** Regular expression for the extensions of snapshots. */
export const extensionPattern = "\\.(?:sql\\.gz(?:\\.age)?|sql\\.zst(?:\\.age)?|dir)";

const anyExtension = new RegExp(`${extensionPattern}$`);

export function snapshotName(name: string, timestamp: string, format: SnapshotFormat, encrypted = false): string {
  return `togather_${name}_${timestamp}${extensions[format]}${encrypted ? encryptedExtension : ""}`;
}

/** A snapshot's name without its extension. Undefined: no known extension. */
export function stemOf(snapshot: string): string | undefined {
  return anyExtension.test(snapshot) ? snapshot.replace(anyExtension, "") : undefined;
}

/** The format of a snapshot, by its name. */
export function formatOf(snapshot: string): SnapshotFormat {
  return (
    snapshotFormats.find((format) =>
      [extensions[format], extensions[format] + encryptedExtension].some((ending) => snapshot.endsWith(ending)),
    ) ?? "sql.gz"
  );
}

/** The name of the manifest beside a snapshot. */
export function manifestName(snapshot: string): string {
  return `${stemOf(snapshot) ?? snapshot}.json`;
}

/** The command with which a person restores one by hand, into an empty database. */
export function restoreByHand(path: string, format: SnapshotFormat): string {
  const encrypted = path.endsWith(encryptedExtension);
  const unpack = (program: string): string =>
    encrypted ? `age --decrypt --identity IDENTITY ${path} | ${program}` : `${program} ${path}`;
  switch (format) {
    case "sql.gz":
      return `${unpack("gunzip -c")} | psql -X -v ON_ERROR_STOP=1`;
    case "sql.zst":
      return `${unpack("zstd -dc")} | psql -X -v ON_ERROR_STOP=1`;
    case "directory":
      return `psql -X -f ${path}/roles.sql; pg_restore --exit-on-error --jobs=2 --dbname=DATABASE ${path}`;
  }
}

/** The roles of a snapshot in the format `directory`; pg_restore ignores this file. */
export const rolesFile = "roles.sql";
