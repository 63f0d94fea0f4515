import leven from "leven";

/** The known key that was probably meant. Undefined: none is similar. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  const ranked = known.map((candidate) => ({ candidate, distance: leven(key.toLowerCase(), candidate.toLowerCase()) }));
  ranked.sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  // With more than a third of the letters wrong it is another word, not a typing error.
  return best !== undefined && best.distance <= Math.max(1, Math.floor(key.length / 3)) ? best.candidate : undefined;
}
