import { shortCommit } from "./release.ts";

/** `YYYYMMDD_HHMMSS` in UTC: sorts by time, fits file names. */
export function timestampOf(time: Date): string {
  return time.toISOString().replace(/[-:]/g, "").replace("T", "_").slice(0, 15);
}

/** The id of a deployment, `YYYYMMDD_HHMMSS_<short commit>`. */
export function deploymentIdOf(time: Date, commit: string): string {
  return `${timestampOf(time)}_${shortCommit(commit)}`;
}
