import { Secret } from "../config/secrets/secret.ts";

/** The same with its secrets as plain strings. */
export type Revealed<T> = T extends Secret
  ? string
  : T extends (...args: never[]) => unknown
    ? T
    : T extends object
      ? { [K in keyof T]: Revealed<T[K]> }
      : T;

/** Settings as a test compares them: two secrets would be equal to vitest, whatever they hold. */
export function revealed<T>(value: T): Revealed<T> {
  const plain = (one: unknown): unknown => {
    if (one instanceof Secret) return one.reveal();
    if (Array.isArray(one)) return one.map(plain);
    if (typeof one !== "object" || one === null) return one;
    return Object.fromEntries(Object.entries(one).map(([key, inner]) => [key, plain(inner)]));
  };
  return plain(value) as Revealed<T>;
}
