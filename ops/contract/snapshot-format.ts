/** The formats of snapshots, and how they are told by their names. */

export const snapshotFormats = ["sql.gz", "sql.zst", "directory"] as const;
/**
 * `sql.gz`: SQL that `gunzip -c | psql` reads. `sql.zst`: the same for `zstd -dc`, written in less time. `directory`: pg_dump's own, a file for each table, written
 * and restored by several processes at once.
 */
export type SnapshotFormat = (typeof snapshotFormats)[number];

const extensions: Readonly<Record<SnapshotFormat, string>> = {
  "sql.gz": ".sql.gz",
  "sql.zst": ".sql.zst",
  directory: ".dir",
};

/** Behind it when it is encrypted by age. */
const encryptedExtension = ".age";

/** What a snapshot's name ends with. */
export const extensionPattern = "\\.(?:sql\\.gz(?:\\.age)?|sql\\.zst(?:\\.age)?|dir)";

const anyExtension = new RegExp(`${extensionPattern}$`);

export function snapshotName(name: string, timestamp: string, format: SnapshotFormat, encrypted = false): string {
  return `togather_${name}_${timestamp}${extensions[format]}${encrypted ? encryptedExtension : ""}`;
}

/** A snapshot's name without its ending; undefined when it has none of the known ones. */
export function stemOf(snapshot: string): string | undefined {
  return anyExtension.test(snapshot) ? snapshot.replace(anyExtension, "") : undefined;
}

/** The format that a snapshot's name tells. */
export function formatOf(snapshot: string): SnapshotFormat {
  return (
    snapshotFormats.find((format) =>
      [extensions[format], extensions[format] + encryptedExtension].some((ending) => snapshot.endsWith(ending)),
    ) ?? "sql.gz"
  );
}

/** Of the file beside it. */
export function manifestName(snapshot: string): string {
  return `${stemOf(snapshot) ?? snapshot}.json`;
}

/** How a person restores one by hand, into an empty database. */
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

/** The roles of a snapshot in the format `directory`; pg_restore does not look at it. */
export const rolesFile = "roles.sql";
