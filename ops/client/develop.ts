/**
 * `develop`, on the operator's machine: waits for the server of a development container, and shows its output
 * meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import type { StepContext } from "../contract/context.ts";
import type { StepRequest, StepResult } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import { createRedactor } from "../contract/redact.ts";
import { lastLines, tryDocker, startDocker } from "../host/docker.ts";
import { onLines } from "../host/lines.ts";

type Request = StepRequest<"develop">;

/** Between two questions to the server. */
const pollMs = 500;
/** A problem of this age (ms) is final: later lines would have cleared it. */
const settledMs = 1_500;
const shownLines = 30;

const inspectedSchema = z
  .array(
    z.looseObject({
      Id: z.string(),
      State: z.looseObject({ Status: z.string(), ExitCode: z.number(), StartedAt: z.string() }),
    }),
  )
  .min(1);

/** Follows the output of air and the server, and notices a state in which no server can answer. */
export class DevelopmentLog {
  readonly lines: string[] = [];
  #problem: { what: string; since: number } | undefined;
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  add(line: string): void {
    this.lines.push(line);
    if (this.lines.length > shownLines) this.lines.shift();
    const exit = /^Process Exit with Code:? (\d+)$/.exec(line);
    if (/^(building\.\.\.|.* has changed)$/.test(line)) this.#problem = undefined;
    else if (line.startsWith("failed to build"))
      this.#problem = { what: "the source doesn't compile", since: this.#now() };
    // After a failed build the previous server runs, or none.
    else if (exit) this.#problem ??= { what: `the server ended with exit code ${exit[1]}`, since: this.#now() };
  }

  /** The problem, once it is final. Undefined: none so far. */
  problem(): string | undefined {
    return this.#problem !== undefined && this.#now() - this.#problem.since >= settledMs
      ? this.#problem.what
      : undefined;
  }
}

/** The HTTP status of the health endpoint, asked inside the container, or the reason why there is none. */
async function ask(
  { containerName, port, healthPath }: Request,
  signal: AbortSignal,
): Promise<{ status: number } | { error: string }> {
  const { ok, stdout, stderr } = await tryDocker(
    [
      "exec",
      containerName,
      "curl",
      "--silent",
      "--show-error",
      "--max-time",
      "3",
      "--write-out",
      "\n%{http_code}",
      `http://127.0.0.1:${port}${healthPath}`,
    ],
    { signal },
  );
  signal.throwIfAborted();
  if (!ok) return { error: lastLines(stderr, 1) };
  const status = Number(stdout.slice(stdout.lastIndexOf("\n") + 1));
  return status === 200
    ? { status }
    : { error: `HTTP ${status}: ${stdout.slice(0, stdout.lastIndexOf("\n")).slice(0, 500)}` };
}

async function inspect(name: string): Promise<z.infer<typeof inspectedSchema>[number]> {
  const { ok, stdout } = await tryDocker(["inspect", "--type=container", name]);
  const [container] = ok ? inspectedSchema.parse(JSON.parse(stdout)) : [];
  if (container === undefined)
    throw new StepError(`the container ${name} doesn't exist`, {
      hint: "pulumi refresh, then pulumi up, make it again",
    });
  return container;
}

/**
 * Waits until the server answers 200 at its health path. The container stays in any case: air goes on watching the
 * source.
 */
export async function run(request: Request, { log, signal, env }: StepContext): Promise<StepResult<"develop">> {
  const { containerName, timeoutSeconds } = request;
  const started = Date.now();
  const redactor = createRedactor(env);
  const { State } = await inspect(containerName);
  const said = new DevelopmentLog();
  const follow = startDocker(["logs", "--follow", "--since", State.StartedAt, containerName]);
  const hear = (line: string): void => {
    const text = redactor.text(line);
    said.add(text);
    // The server's own lines are too many; people wait for air's and the compiler's.
    if (!text.startsWith("{")) log.info(text);
  };
  void onLines(follow.stdout, hear);
  void onLines(follow.stderr, hear);
  const failed = (what: string): StepError =>
    new StepError(
      `${containerName}: ${what}. The end of its log:\n${said.lines.map((line) => `  ${line}`).join("\n")}`,
      {
        hint: `correct the source: air builds it again at once (docker logs -f ${containerName}); then run this again`,
      },
    );
  try {
    for (;;) {
      const answer = await ask(request, signal);
      const durationMs = Date.now() - started;
      if ("status" in answer) {
        log.info(`${containerName} answers`, { duration_ms: durationMs });
        return { status: answer.status, durationMs };
      }
      const problem = said.problem();
      if (problem !== undefined) throw failed(problem);
      const { Status: status, ExitCode: exitCode } = (await inspect(containerName)).State;
      if (status !== "running") throw failed(`it is ${status}, with exit code ${exitCode}`);
      if (durationMs > timeoutSeconds * 1000)
        throw failed(
          `no healthy answer at ${request.healthPath} after ${timeoutSeconds} s (${redactor.text(answer.error)})`,
        );
      await sleep(pollMs, undefined, { signal });
    }
  } finally {
    follow.kill();
  }
}
