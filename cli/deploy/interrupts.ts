/** Signals until the end of a command: the first one interrupts Pulumi, and none of them ends this process before it has said how things are. */
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

  /** @param outer ends a command that goes on after this deployment: who aborts it hears the signals. */
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
