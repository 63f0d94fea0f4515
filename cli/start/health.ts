import { readFileSync } from "node:fs";
import { get as getHttp } from "node:http";
import { get as getHttps } from "node:https";
import { text } from "node:stream/consumers";
import pRetry from "p-retry";

/** A server's health document. */
export interface Health {
  status: string;
  version?: string;
}

/** GET URL/health. Only our own self-signed certificate is trusted, so that it's still checked. */
async function askOnce(url: string, certificateFile: string): Promise<Health> {
  const address = new URL("/health", url);
  const response = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
    const request =
      address.protocol === "https:"
        ? getHttps(address, { ca: readFileSync(certificateFile), timeout: 3000 }, resolve)
        : getHttp(address, { timeout: 3000 }, resolve);
    request.on("error", reject);
    request.on("timeout", () => request.destroy(new Error("no answer in 3 s")));
  });
  const body = await text(response);
  if (response.statusCode !== 200) throw new Error(`answers ${response.statusCode ?? 0}: ${body.slice(0, 200)}`);
  return JSON.parse(body) as Health;
}

export function askHealth(url: string, certificateFile: string): Promise<Health> {
  return pRetry(() => askOnce(url, certificateFile), { retries: 5, minTimeout: 200, maxTimeout: 1000 });
}
