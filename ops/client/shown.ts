/**
 * Limits a step's output on stderr. Pulumi's command provider keeps all of it in the state, and passes it to the step's
 * next run as one environment variable: Linux starts no program with a variable of 128 KiB or more. The official plugin
 * also stops reading at a line of 64 KiB, so that a program which writes one hangs. The deployment's log on the host
 * has every line in full.
 */

/** Bytes that are shown without a limit of their rate. */
const freely = 32 * 1024;
/** Maximum of shown bytes: together with the lines that `end` adds, well below Linux's 131,072 for one variable. */
const most = 80 * 1024;
/** The longest line, in bytes. */
const longest = 4 * 1024;
/**
 * Beyond `freely`, a progress line is shown once this share of the step's time so far has passed since the last one: a
 * step that takes twice as long shows a few dozen lines more.
 */
const share = 0.01;
/** Number of left-out lines that are kept for a failure: the last ones. */
const keptLines = 40;

/** Cuts a line that is too long, never in the middle of a character. */
export function boundedLine(line: string): string {
  const bytes = Buffer.byteLength(line);
  if (bytes <= longest) return line;
  const end = `… (${bytes} bytes)`;
  // A cut character is decoded as a replacement character.
  return (
    Buffer.from(line)
      .subarray(0, longest - Buffer.byteLength(end))
      .toString()
      .replace(/\uFFFD+$/, "") + end
  );
}

export interface Shown {
  /** Shows one or several lines, or leaves them out. */
  line: (text: string) => void;
  /**
   * Ends the output: reports how much was left out, and shows the last of it when the step has failed, since the reason
   * may be there.
   */
  end: (failed: boolean) => void;
}

/**
 * @param write gets the shown text, newline included.
 * @param now milliseconds of a monotonic clock.
 */
export function createShown(write: (text: string) => void, now: () => number = () => performance.now()): Shown {
  const started = now();
  const kept: string[] = [];
  let told = started;
  let bytes = 0;
  let leftOut = 0;

  const due = (line: string): boolean => {
    if (bytes <= freely) return true;
    if (bytes > most) return false;
    // Warnings and errors are few.
    return /^\d\d:\d\d:\d\d (WARN|ERROR) /.test(line) || now() - told >= (now() - started) * share;
  };
  const put = (line: string): void => {
    bytes += Buffer.byteLength(line) + 1;
    told = now();
    write(`${line}\n`);
  };
  return {
    line: (text) => {
      for (const line of text.split("\n").map(boundedLine)) {
        if (due(line)) {
          put(line);
          continue;
        }
        leftOut += 1;
        kept.push(line);
        if (kept.length > keptLines) kept.shift();
      }
    },
    end: (failed) => {
      if (leftOut === 0) return;
      const last = failed ? kept : [];
      write(`… ${leftOut - last.length} lines are not shown; the deployment's log has them: npm run togather logs\n`);
      for (const line of last) write(`${line}\n`);
    },
  };
}
