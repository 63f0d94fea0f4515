/**
 * Handles signals until the end of a command. The first one interrupts Pulumi. No signal ends this process before it
 * has reported the outcome.
 */
export class Interrupts {
  onFirst: (signal: string) => void = () => undefined;
  onMore: () => void = () => undefined;
  readonly #controller = new AbortController();
  readonly #handlers = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map(
    (name) =>
      [
        name,
        () => {
          this.#received(name);
        },
      ] as const,
  );

  /** @param outer the signal of a command that continues after this deployment: it handles the process's signals. */
  constructor(outer?: AbortSignal) {
    if (outer === undefined) for (const [name, handler] of this.#handlers) process.on(name, handler);
    else if (outer.aborted) this.#controller.abort();
    else
      outer.addEventListener(
        "abort",
        () => {
          this.#received(String(outer.reason));
        },
        { once: true },
      );
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  #received(name: string): void {
    if (this.signal.aborted) {
      this.onMore();
      return;
    }
    this.onFirst(name);
    this.#controller.abort();
  }

  end(): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}
