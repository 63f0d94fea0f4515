// Runs in a temporary container on the Docker host (Node 20, no packages, read from stdin): reads a deployment's files
// there, and asks its servers for their health. Its question is JSON in TOGATHER_QUESTION; its answer is JSON on
// stdout.
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { performance } from "node:perf_hooks";

const question = JSON.parse(process.env.TOGATHER_QUESTION);
const limitMs = 5000;

async function read(file) {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    return error.code === "ENOENT" ? null : Promise.reject(error);
  }
}

/** One request: status, slot and body, or why there was no answer. */
function ask(address, options = {}) {
  const url = new URL(address);
  const started = performance.now();
  return new Promise((resolve) => {
    const fail = (error) => resolve({ error: error.code ?? error.message });
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const sent = send(
      url,
      { ...options, headers: { connection: "close", ...options.headers }, rejectUnauthorized: false, timeout: limitMs },
      (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", fail);
        response.on("end", () =>
          resolve({
            status: response.statusCode,
            slot: response.headers["x-togather-slot"] ?? null,
            body: Buffer.concat(chunks).toString(),
            ms: Math.round(performance.now() - started),
          }),
        );
      },
    );
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${limitMs / 1000} s`)));
    sent.on("error", fail);
    sent.end(options.body);
  });
}

/**
 * Asks through the router, over HTTPS where it redirects plain HTTP. The certificate is for the public name: here the
 * address is enough. Where maintenance is on, the answer is one past it.
 */
async function askRouter({ http, https, internal, control }) {
  const through = async (options) => {
    const first = await ask(http, options);
    const answer = first.status === 308 && https ? await ask(https, options) : first;
    if (!("error" in answer) || !internal) return answer;
    // A router that needs a PROXY protocol header first, or that leaves HTTPS to a load balancer, has an internal port for
    // this. A stopped router does not answer there either.
    const other = await ask(internal, options);
    return "error" in other ? answer : other;
  };
  const answer = await through();
  if (answer.status !== 503 || answer.slot !== "maintenance" || !control) return answer;
  const at = { socketPath: control };
  const maintenance = await ask("http://router/maintenance", at);
  const signed = await ask("http://router/preview", { ...at, method: "POST", body: '{"slot":"serving","seconds":60}' });
  if (signed.status !== 200) return answer;
  const past = await through({ headers: { "x-togather-preview": JSON.parse(signed.body).token } });
  return { ...past, maintenance: maintenance.body };
}

const { servers = {}, router, files = {}, control } = question;
const all = async (record, work) =>
  Object.fromEntries(await Promise.all(Object.entries(record).map(async ([key, value]) => [key, await work(value)])));
const [answers, throughRouter, texts, memory] = await Promise.all([
  all(servers, (url) => ask(url)),
  router ? askRouter(router) : null,
  all(files, read),
  control ? ask("http://router/slot", { socketPath: control }) : null,
]);
process.stdout.write(JSON.stringify({ servers: answers, router: throughRouter, files: texts, control: memory }));
