import { inspect } from "node:util";

const shown = "[secret]";

/**
 * A secret's value. It prints as `[secret]`, wherever it is printed, and is no string, so that it can't be passed where one is
 * expected. Only `reveal` gives it away: in the program that is `stack/secret-output.ts`, which makes a secret output of it.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [inspect.custom](): string {
    return shown;
  }
}
