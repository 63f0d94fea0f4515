/** `YYYYMMDD_HHMMSS` in UTC: sorts by time, fits file names. */
export function timestampOf(time: Date): string {
  return time.toISOString().replace(/[-:]/g, "").replace("T", "_").slice(0, 15);
}

/** What people recognise a release by: 7 characters of the commit, the tree's hash or the image's digest. */
export function shortCommit(commit: string): string {
  return commit.replace(/^(tree-|sha256:)/, "").slice(0, 7);
}

/** The id of a deployment, `YYYYMMDD_HHMMSS_<short commit>`. */
export function deploymentIdOf(time: Date, commit: string): string {
  return `${timestampOf(time)}_${shortCommit(commit)}`;
}
