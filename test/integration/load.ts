import { randomUUID } from "node:crypto";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";

/** A client's results. */
export interface LoadReport {
  acknowledged: string[];
  /** One line for each request that was not acknowledged. */
  lost: string[];
  /** Slots in the order in which they first answered. */
  slots: string[];
}

/**
 * A few clients that POST events over keep-alive connections and never retry, until stopped. Only ever at 127.0.0.1.
 * @param pauseMs think time of each client.
 * @param secure over HTTPS, by a certificate that nobody has to know.
 */
export function startLoad(
  port: number,
  clients = 4,
  pauseMs = 20,
  secure = false,
): { stop: () => Promise<LoadReport> } {
  const request = secure ? httpsRequest : httpRequest;
  const options = { keepAlive: true, maxSockets: clients };
  const agent = secure ? new HttpsAgent({ ...options, rejectUnauthorized: false }) : new HttpAgent(options);
  const report: LoadReport = { acknowledged: [], lost: [], slots: [] };
  let running = true;
  const post = (id: string): Promise<void> =>
    new Promise((resolve) => {
      const body = JSON.stringify({
        id,
        name: "Load",
        starts_at: "2030-01-01T10:00:00Z",
        ends_at: "2030-01-01T12:00:00Z",
      });
      const outgoing = request(
        {
          agent,
          host: "127.0.0.1",
          port,
          method: "POST",
          path: "/api/v1/events",
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        },
        (response) => {
          const slot = String(response.headers["x-togather-slot"]);
          if (!report.slots.includes(slot)) report.slots.push(slot);
          response.resume();
          response.once("end", () => {
            if (response.statusCode === 201) report.acknowledged.push(id);
            else report.lost.push(`${new Date().toISOString()} ${slot} ${response.statusCode ?? 0}`);
            resolve();
          });
        },
      );
      outgoing.once("error", (error) => {
        report.lost.push(`${new Date().toISOString()} ${error.message}`);
        resolve();
      });
      outgoing.end(body);
    });
  const loops = Array.from({ length: clients }, async () => {
    while (running) {
      await post(randomUUID());
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  });
  return {
    async stop() {
      running = false;
      await Promise.all(loops);
      agent.destroy();
      return report;
    },
  };
}
