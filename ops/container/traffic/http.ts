/** One HTTP request with a time limit. Not `fetch`, which accepts neither a unix socket nor an agent. */
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface AskOptions extends RequestOptions {
  body?: string | undefined;
  rejectUnauthorized?: boolean;
  /** Longest wait for the whole answer, in ms. Default: 5,000. */
  limitMs?: number;
}

/** @throws when there is no answer. Any status is an answer. */
export function ask(url: URL, { body, signal, limitMs = 5_000, ...options }: AskOptions = {}): Promise<Answer> {
  const limit = AbortSignal.timeout(limitMs);
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const fail = (error: Error): void => {
      reject(limit.aborted ? new Error(`no answer from ${url.host} within ${limitMs / 1000} s`) : error);
    };
    const sent = send(url, { ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", fail);
      response.on("end", () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        });
      });
    });
    sent.on("error", fail);
    sent.end(body);
  });
}
