/** What unpacks a snapshot that is one file: from stdin, or from a file that is named behind it. */
export const unpackers = {
  "sql.gz": ["pigz", "--decompress", "--stdout"],
  "sql.zst": ["zstd", "--decompress", "--stdout", "--quiet"],
} as const;
