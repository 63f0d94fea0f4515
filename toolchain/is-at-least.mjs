// Plain JavaScript, because bootstrap.mjs needs it before a Node that runs TypeScript is there.

const numbers = (version) =>
  (/(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(version) ?? []).slice(1).map((text) => Number(text ?? 0));

/** Compares the first version number in each text: "go1.26.8", "v20.10.24+dfsg1". A text without one is never enough. */
export function isAtLeast(version, wanted) {
  const [a, b] = [numbers(version), numbers(wanted)];
  const different = [0, 1, 2].find((i) => a[i] !== b[i]);
  return a.length > 0 && (different === undefined || a[different] > b[different]);
}
