/** Sizes and times as people read them. */

export const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MB`;

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/**
 * How far a transfer is: bytes, rate, and how long the rest may take.
 * @param expected bytes at the end; an estimate, 0 when there is none.
 */
export function transferProgress(done: number, expected: number, ms: number): string {
  const rate = ms <= 0 ? 0 : done / (ms / 1000);
  const rest = done >= expected || rate === 0 ? "" : `, about ${Math.max(1, Math.round((expected - done) / rate))} s left`;
  const share = done >= expected ? "" : ` of about ${megabytes(expected)}`;
  return `${megabytes(done)}${share}, ${megabytes(rate)}/s${rest}`;
}
