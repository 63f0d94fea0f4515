/**
 * The channel from a client to its step, on stdin: a header line, the payload (a tar of migrations), then answers to
 * the step's questions, and a line that tells it to stop, with the reason. The end of stdin means that the client is
 * gone (`kill -9` included): the step stops. A client whose machine sleeps or has lost power ends nothing: its regular
 * signs of life then stop, and the step stops too.
 */
import * as z from "zod";

const headerSchema = z.strictObject({ payload: z.number().int().nonnegative() });
const stopSchema = z.strictObject({
  stop: z.strictObject({ message: z.string(), hint: z.string().optional(), interrupted: z.boolean().optional() }),
});
const aliveSchema = z.strictObject({ alive: z.literal(true) });
const answerSchema = z.strictObject({ answer: z.unknown() });
/** A request to stop, with its reason. */
export type Stop = z.infer<typeof stopSchema>["stop"];

/** Time between two signs of life of a client, in ms; ... */
export const aliveEveryMs = 5_000;
/**
 * ... and the time that a step goes on without one, in ms: less than the deployment's lock lasts, so that nobody
 * deploys beside it.
 */
const silenceMs = 90_000;
/** Time to read what has already arrived, in ms. */
const readMs = 100;

/** The first bytes that a client writes. */
export function encodeStart(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify({ payload: payload.length })}\n`), payload]);
}

export function encodeStop(stop: Stop): string {
  return `${JSON.stringify({ stop })}\n`;
}

export function encodeAlive(): string {
  return `${JSON.stringify({ alive: true })}\n`;
}

/** A step's question to its client, on stdout before the result: for work that needs a Docker client. */
export function encodeQuestion(question: unknown): string {
  return `${JSON.stringify({ question })}\n`;
}

/** The question in a line of a step's stdout. Undefined: any other line. */
export function questionIn(line: string): { question: unknown } | undefined {
  if (!line.startsWith('{"question":')) return undefined;
  return z.strictObject({ question: z.unknown() }).parse(JSON.parse(line));
}

export function encodeAnswer(answer: unknown): string {
  return `${JSON.stringify({ answer })}\n`;
}

export interface Channel {
  /** Resolves with the payload once it has arrived completely. */
  payload: Promise<Buffer>;
  /** Resolves with the reason when the client says stop, with undefined when it is gone. */
  stopped: Promise<Stop | undefined>;
  /** The next answer of the client. Rejects when it is gone. */
  answer: () => Promise<unknown>;
}

interface Deferred<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: Error) => void;
}

/** Promise.withResolvers, which the image's Node 20 lacks. */
function deferred<T>(): Deferred<T> {
  const parts: Partial<Deferred<T>> = {};
  const promise = new Promise<T>((resolve, reject) => {
    parts.resolve = resolve;
    parts.reject = reject;
  });
  return { promise, ...parts } as Deferred<T>;
}

/**
 * Reads a client's side of the channel.
 * @param silence how long it may be silent after its first sign of life, in ms.
 */
export function openChannel(input: NodeJS.ReadableStream, silence = silenceMs): Channel {
  const payload = deferred<Buffer>();
  const stopped = deferred<Stop | undefined>();
  // A step that doesn't need the payload doesn't wait for it.
  payload.promise.catch(() => undefined);
  const answers: unknown[] = [];
  const waiting: Deferred<unknown>[] = [];
  let gone = false;
  let listening: NodeJS.Timeout | undefined;
  const give = (answer: unknown): void => {
    const next = waiting.shift();
    if (next === undefined) answers.push(answer);
    else next.resolve(answer);
  };
  let pending = Buffer.alloc(0);
  let remaining: number | undefined;

  const line = (): string | undefined => {
    const end = pending.indexOf("\n");
    if (end === -1) return undefined;
    const text = pending.subarray(0, end).toString();
    pending = pending.subarray(end + 1);
    return text;
  };
  const advance = (): void => {
    if (remaining === undefined) {
      const header = line();
      if (header === undefined) return;
      remaining = headerSchema.parse(JSON.parse(header)).payload;
    }
    if (remaining >= 0) {
      if (pending.length < remaining) return;
      payload.resolve(pending.subarray(0, remaining));
      pending = pending.subarray(remaining);
      remaining = -1;
    }
    for (let next = line(); next !== undefined; next = line()) {
      const said: unknown = JSON.parse(next);
      if (aliveSchema.safeParse(said).success) {
        clearTimeout(listening);
        listening = setTimeout(() => {
          // If this process itself was suspended that long, messages from that time still have to be read.
          listening = setTimeout(() => {
            end({
              message: `stopped, because nothing was heard of the client that started this step for ${silence / 1000} s`,
              interrupted: true,
            });
          }, readMs);
          listening.unref();
        }, silence);
        listening.unref();
        continue;
      }
      const answer = answerSchema.safeParse(said);
      if (answer.success) give(answer.data.answer);
      else stopped.resolve(stopSchema.parse(said).stop);
    }
  };
  const end = (reason?: Stop): void => {
    clearTimeout(listening);
    payload.reject(new Error("stdin ended before all files were here"));
    stopped.resolve(reason);
    gone = true;
    for (const one of waiting.splice(0)) one.reject(new Error("the client is gone"));
  };
  input.on("data", (chunk: Buffer | string) => {
    pending = Buffer.concat([pending, Buffer.from(chunk)]);
    try {
      advance();
    } catch {
      end();
    }
  });
  input.once("end", () => {
    end();
  });
  input.once("error", () => {
    end();
  });
  const answer = (): Promise<unknown> => {
    const next = deferred<unknown>();
    if (answers.length > 0) next.resolve(answers.shift());
    else if (gone) next.reject(new Error("the client is gone"));
    else waiting.push(next);
    return next.promise;
  };
  return { payload: payload.promise, stopped: stopped.promise, answer };
}
