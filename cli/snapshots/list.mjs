// Runs in the ops image: prints the snapshots in /backups, each with its manifest, as one line of JSON.
import { readdirSync, readFileSync, statSync } from "node:fs";

const snapshots = readdirSync("/backups").flatMap((file) => {
  if (!/^togather_[a-z0-9-]+_\d{8}_\d{6}\.sql\.gz$/.test(file)) return [];
  let manifest = null;
  try {
    manifest = JSON.parse(readFileSync(`/backups/${file.replace(/\.sql\.gz$/, ".json")}`, "utf8"));
  } catch {
    // None, or none that can be read: the snapshot is shown all the same.
  }
  return [{ file, bytes: statSync(`/backups/${file}`).size, manifest }];
});
console.log(JSON.stringify(snapshots));
