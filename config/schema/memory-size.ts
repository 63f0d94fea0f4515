/** Megabytes of a size such as 256m or 1g. */
export function megabytes(size: string): number {
  return Number(size.slice(0, -1)) * (size.endsWith("g") ? 1024 : 1);
}
