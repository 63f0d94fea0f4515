/**
 * Applies a change to a text and keeps its layout: a library that writes YAML anew would change comments and spaces
 * elsewhere.
 */

type Lines = readonly string[];

/** For each line of one text its line number in the other; undefined: none. By a longest common subsequence. */
function placesOf(from: Lines, to: Lines): (number | undefined)[] {
  const lengths = Array.from({ length: from.length + 1 }, () => new Array<number>(to.length + 1).fill(0));
  const at = (i: number, j: number): number => lengths[i]?.[j] ?? 0;
  for (let i = from.length - 1; i >= 0; i--)
    for (let j = to.length - 1; j >= 0; j--)
      (lengths[i] ?? [])[j] = from[i] === to[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const places: (number | undefined)[] = [];
  for (let i = 0, j = 0; i < from.length; i++) {
    while (j < to.length && from[i] !== to[j] && at(i, j + 1) > at(i + 1, j)) j++;
    places.push(j < to.length && from[i] === to[j] ? j++ : undefined);
  }
  return places;
}

const isSame = (a: Lines, b: Lines): boolean => a.length === b.length && a.every((line, i) => line === b[i]);

/** Merges some lines: the original where nothing has changed, the new ones otherwise. */
function merged(as: { original: Lines; before: Lines; after: Lines }): Lines {
  const { original, before, after } = as;
  if (isSame(before, after)) return original;
  if (before.length !== after.length || before.length !== original.length) return after;
  return after.map((line, i) => (line === before[i] ? (original[i] ?? line) : line));
}

/**
 * @param original in its author's layout.
 * @param before the same content as the library writes it.
 * @param after the library's text with the change.
 * @returns the original with only the changed lines replaced.
 */
export function keepLayout(original: string, before: string, after: string): string {
  const [o, b, a] = [original.split("\n"), before.split("\n"), after.split("\n")];
  const [inOriginal, inAfter] = [placesOf(b, o), placesOf(b, a)];
  const lines: string[] = [];
  let from = { o: 0, b: 0, a: 0 };
  const upTo = (to: { o: number; b: number; a: number }): void => {
    lines.push(
      ...merged({ original: o.slice(from.o, to.o), before: b.slice(from.b, to.b), after: a.slice(from.a, to.a) }),
    );
  };
  b.forEach((line, i) => {
    const [inO, inA] = [inOriginal[i], inAfter[i]];
    if (inO === undefined || inA === undefined) return;
    upTo({ o: inO, b: i, a: inA });
    lines.push(line);
    from = { o: inO + 1, b: i + 1, a: inA + 1 };
  });
  upTo({ o: o.length, b: b.length, a: a.length });
  return lines.join("\n");
}
