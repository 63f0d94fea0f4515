/**
 * What a step shows on stderr, within bounds. Pulumi's command provider keeps all of it in the state, and hands it to the step's next run
 * as one environment variable: Linux starts no program with one of 128 KiB or more. And the official plugin stops reading at a line of 64 KiB,
 * so that whoever writes one hangs. The deployment's log on the host has every line in full.
 */

/** Bytes that are shown whatever their pace. */
const freely = 32 * 1024;
/** Bytes that are shown in all: with what `end` adds, far enough below Linux's 131,072 for one variable. */
const most = 80 * 1024;
/** The longest line, in bytes. */
const longest = 4 * 1024;
/** Beyond `freely`, a line of progress is due once the step has gone on for so large a part of its time: twice as long a step shows a few dozen lines more. */
const share = 0.01;
/** Lines that are kept for a failure, the last ones of those that were left out. */
const keptLines = 40;

/** A line that is cut where it is too long, never in the middle of a character. */
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
  /** Shows a line, or several, or leaves them out. */
  line: (text: string) => void;
  /** The step has ended: says what was left out, and shows the last of it when the step has failed, since the reason may be there. */
  end: (failed: boolean) => void;
}

/**
 * @param write takes what is shown, newline included.
 * @param now milliseconds of a clock that only goes on.
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
