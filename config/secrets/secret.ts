import { inspect } from "node:util";

const shown = "[secret]";

/**
 * A secret's value. It is always printed as `[secret]`, and is no string, so that it can't be passed where one is
 * expected. Only `reveal` returns the value: in the program that is `stack/secret-output.ts`, which makes a secret
 * output of it.
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
