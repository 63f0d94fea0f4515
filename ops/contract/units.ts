/** Sizes and times as text for people. */

/** In powers of 1000, like Docker and Pulumi: kB up to 100 kB, then MB. */
export const formatBytes = (bytes: number): string =>
  bytes > 0 && bytes < 100_000 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

/** With minutes from 90 s on. */
export const seconds = (ms: number): string =>
  ms < 90_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;

/**
 * The progress of a transfer: bytes, rate, and remaining time.
 * @param expected bytes at the end; an estimate, 0 when there is none.
 */
export function transferProgress(done: number, expected: number, ms: number): string {
  const rate = ms <= 0 ? 0 : done / (ms / 1000);
  const rest =
    done >= expected || rate === 0 ? "" : `, about ${Math.max(1, Math.round((expected - done) / rate))} s left`;
  const share = done >= expected ? "" : ` of about ${formatBytes(expected)}`;
  return `${formatBytes(done)}${share}, ${formatBytes(rate)}/s${rest}`;
}
