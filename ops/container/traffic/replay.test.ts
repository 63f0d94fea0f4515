import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StepRequest } from "../../contract/steps.ts";
import { replayRequests } from "./replay.ts";

/** A slot with its requests and answers. */
class Slot {
  readonly asked: IncomingMessage[] = [];
  status: (path: string) => number = () => 200;
  private server: Server | undefined;
  address = "";

  async open(): Promise<void> {
    const server = createServer((request, response) => {
      this.asked.push(request);
      response.writeHead(this.status(request.url ?? "")).end();
    });
    this.server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  close(): void {
    this.server?.closeAllConnections();
    this.server?.close();
  }
}

describe("requests of the router's log", () => {
  let [old, fresh] = [new Slot(), new Slot()];
  let warnings: string[] = [];
  let questions: unknown[] = [];
  beforeEach(async () => {
    [old, fresh, warnings, questions] = [new Slot(), new Slot(), [], []];
    await Promise.all([old.open(), fresh.open()]);
  });
  afterEach(() => {
    old.close();
    fresh.close();
  });
  const paths = Array.from({ length: 40 }, (_, n) => `/events/${n}`);

  async function replay(answer: unknown = { paths, address: old.address }, wanted = true): Promise<void> {
    const quiet = (): void => undefined;
    const rollout = {
      ...{ steps: [], intervalMs: 0, bakeMs: 0, sticky: false },
      ...(wanted ? { replay: { paths: ["/events/*"], requests: 200 } } : {}),
    };
    const request = {
      ...{ activeSlot: "green", release: { version: "v2", commit: "c" }, name: "togather", rollout },
      slotUrl: `http://${fresh.address}`,
    } as unknown as StepRequest<"switch">;
    await replayRequests(
      { request, from: "blue" },
      {
        log: { debug: quiet, info: quiet, success: quiet, error: quiet, warn: (line) => void warnings.push(line) },
        signal: new AbortController().signal,
        ask: (question) => {
          questions.push(question);
          return Promise.resolve(answer);
        },
      },
    );
  }

  it("are asked of both slots, each in its turn, with nothing but their path", async () => {
    await replay();
    expect(questions).toEqual([{ do: "list recent requests", slot: "blue", paths: ["/events/*"], requests: 200 }]);
    for (const slot of [old, fresh]) {
      expect(slot.asked.map(({ url }) => url)).toEqual(paths);
      expect(new Set(slot.asked.map(({ method }) => method))).toEqual(new Set(["GET"]));
      expect(new Set(slot.asked.flatMap(({ headers }) => Object.keys(headers)))).toEqual(
        new Set(["host", "connection"]),
      );
    }
    expect(warnings).toEqual([]);
  });

  it("stop a release that fails where the old one did not", async () => {
    fresh.status = (path) => (path.endsWith("1") || path.endsWith("2") ? 500 : 200);
    await expect(replay()).rejects.toThrow(
      /^green \(v2\) does worse than blue with requests of the router's log: 8 of 40 requests failed \(20 %.*No traffic has moved: blue serves/,
    );
    old.status = fresh.status;
    await replay();
  });

  it("stop a release that finds nothing where the old one answered, and does not answer at all", async () => {
    fresh.status = () => 404;
    await expect(replay()).rejects.toThrow(/40 of 40 requests failed/);
    // Without a visitor's session, the old slot may answer the same.
    old.status = () => 401;
    await replay();
    old.status = () => 200;
    fresh.close();
    await expect(replay()).rejects.toThrow(/40 of 40 requests failed/);
  });

  it("are left out where there are few, none or no log, with a word, and where nobody wants it", async () => {
    await replay({ paths: paths.slice(0, 19), address: old.address });
    await replay({ paths: [], address: null });
    await replay({ problem: "configured logging driver does not support reading" });
    expect(warnings).toEqual([
      "replay: 19 requests of blue in the router's log may be replayed; fewer than 20 say nothing",
      "replay: 0 requests of blue in the router's log may be replayed; fewer than 20 say nothing",
      "replay: the router's log can't be read, nothing is replayed: configured logging driver does not support reading",
    ]);
    questions = [];
    await replay(undefined, false);
    expect([questions, old.asked, fresh.asked]).toEqual([[], [], []]);
  });
});
