/**
 * What the client says to its step on stdin: a header line, the payload (a tar of migrations), then, if need be, one
 * line that tells it to stop and why. The end of stdin means that the client is gone, `kill -9` included: the step stops.
 */
import { z } from "zod";

const headerSchema = z.strictObject({ payload: z.number().int().nonnegative() });
const stopSchema = z.strictObject({ stop: z.strictObject({ message: z.string(), hint: z.string().optional(), interrupted: z.boolean().optional() }) });
/** Why a step is to stop. */
export type Stop = z.infer<typeof stopSchema>["stop"];

/** The first bytes that a client writes. */
export function encodeStart(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify({ payload: payload.length })}\n`), payload]);
}

export function encodeStop(stop: Stop): string {
  return `${JSON.stringify({ stop })}\n`;
}

export interface Channel {
  /** Resolves with the payload once it is here as a whole. */
  payload: Promise<Buffer>;
  /** Resolves with the reason when the client says stop, or with nothing when it is gone. */
  stopped: Promise<Stop | undefined>;
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

/** Reads a client's side of the channel. */
export function openChannel(input: NodeJS.ReadableStream): Channel {
  const payload = deferred<Buffer>();
  const stopped = deferred<Stop | undefined>();
  // Whoever doesn't need the payload doesn't wait for it.
  payload.promise.catch(() => undefined);
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
    const last = line();
    if (last !== undefined) stopped.resolve(stopSchema.parse(JSON.parse(last)).stop);
  };
  const end = (): void => {
    payload.reject(new Error("stdin ended before all files were here"));
    stopped.resolve(undefined);
  };
  input.on("data", (chunk: Buffer | string) => {
    pending = Buffer.concat([pending, Buffer.from(chunk)]);
    try {
      advance();
    } catch {
      end();
    }
  });
  input.once("end", end);
  input.once("error", end);
  return { payload: payload.promise, stopped: stopped.promise };
}
