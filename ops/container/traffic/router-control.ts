/** The control API of the router's nginx, through its unix socket. */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { slotNameSchema, type SlotName } from "../../contract/steps.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { ask } from "./http.ts";
import { countersSchema, type Counters } from "./sample.ts";

/** Longest wait for the control socket of a router that has just been created. */
const routerStartMs = 15_000;
/** How long what leads past maintenance is good for. */
const passSeconds = 60;

/** A share of the requests for the slot that does not serve. */
export interface Canary {
  slot: SlotName;
  percent: number;
  /** The same client always gets the same slot. */
  sticky: boolean;
  /** The version of its release, for the access log. */
  version: string;
}

export class RouterControl {
  private readonly socketPath: string;
  private readonly hint: string;

  constructor(socketPath: string, hint: string) {
    this.socketPath = socketPath;
    this.hint = hint;
  }

  /** The slot that gets all requests. Waits for a router that is starting. */
  async slot(signal: AbortSignal): Promise<SlotName | null> {
    return z.object({ slot: slotNameSchema.nullable() }).parse(await this.whenThere("/slot", signal)).slot;
  }

  /** Sets the slot that gets all requests; null clears it. Ends a canary. */
  async set(slot: SlotName | null, version?: string): Promise<void> {
    await (slot === null ? this.send("DELETE", "/slot") : this.send("PUT", "/slot", { slot, version }));
  }

  /** Gives a slot that does not serve a share of the requests. It expires after 30 s unless it is renewed. */
  async setCanary(canary: Canary): Promise<void> {
    await this.send("PUT", "/canary", canary);
  }

  async endCanary(): Promise<void> {
    await this.send("DELETE", "/canary");
  }

  /** A header with which requests reach the slot that serves while maintenance is on. */
  async pass(): Promise<Record<string, string>> {
    const signed = await this.send("POST", "/preview", { slot: "serving", seconds: passSeconds });
    return { "X-Togather-Preview": z.object({ token: z.string() }).parse(signed).token };
  }

  /** The router's counters. Waits for a router that is restarting. */
  async counters(signal: AbortSignal): Promise<Counters> {
    return countersSchema.parse(await this.whenThere("/counters", signal));
  }

  /** Asks again until there is an answer, for as long as a start takes. */
  private async whenThere(path: string, signal: AbortSignal): Promise<unknown> {
    const deadline = performance.now() + routerStartMs;
    for (;;) {
      signal.throwIfAborted();
      try {
        return await this.send("GET", path);
      } catch (error) {
        if (performance.now() > deadline) {
          throw new StepError(`the router does not answer on its control socket: ${messageOf(error)}`, {
            hint: this.hint,
            cause: error,
          });
        }
      }
      await sleep(100, undefined, { signal });
    }
  }

  private async send(method: "GET" | "PUT" | "POST" | "DELETE", path: string, body?: unknown): Promise<unknown> {
    const answer = await ask(new URL(path, "http://router"), {
      socketPath: this.socketPath,
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.status !== 200) throw new Error(`the control socket answers ${answer.status}: ${answer.body.trim()}`);
    return JSON.parse(answer.body);
  }
}
