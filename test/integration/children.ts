import { setTimeout as sleep } from "node:timers/promises";
import type { ResultPromise } from "execa";

/** Time that a program has to stop by itself, in ms. */
const patience = 45_000;

/**
 * Programs that a test has started. An interrupt stops the test, and the clean-up begins: objects that its programs
 * create after that would stay.
 */
export class Children {
  readonly #running = new Set<ResultPromise>();
  #over = false;

  /**
   * Returns the program.
   * @throws after `end`: the rest of a test must not start anything.
   */
  start<Child extends ResultPromise>(start: () => Child): Child {
    if (this.#over) throw new Error("the test is over");
    const child = start();
    this.#running.add(child);
    const forget = (): void => void this.#running.delete(child);
    child.then(forget, forget);
    return child;
  }

  /** Ends them as Ctrl-C does, then by force. */
  async end(): Promise<void> {
    this.#over = true;
    const all = [...this.#running];
    if (all.length === 0) return;
    for (const child of all) child.kill("SIGINT");
    await Promise.race([Promise.allSettled(all), sleep(patience, undefined, { ref: false })]);
    for (const child of this.#running) child.kill("SIGKILL");
  }
}
