// Runs in the ops image: prints the snapshots in /backups, each with its manifest, as one line of JSON.
import { readdirSync, readFileSync, statSync } from "node:fs";

/** Bytes of a file, or of all files in a directory. */
function bytesOf(path) {
  const found = statSync(path);
  return found.isDirectory()
    ? readdirSync(path).reduce((sum, name) => sum + statSync(`${path}/${name}`).size, 0)
    : found.size;
}

const snapshots = readdirSync("/backups").flatMap((file) => {
  const [, stem] = /^(togather_[a-z0-9-]+_\d{8}_\d{6})\.(?:sql\.gz(?:\.age)?|sql\.zst(?:\.age)?|dir)$/.exec(file) ?? [];
  if (stem === undefined) return [];
  let manifest = null;
  try {
    manifest = JSON.parse(readFileSync(`/backups/${stem}.json`, "utf8"));
  } catch {
    // Missing or unreadable: the snapshot is listed all the same.
  }
  return [{ file, bytes: bytesOf(`/backups/${file}`), manifest }];
});
console.log(JSON.stringify(snapshots));
