import { format, inspect } from "node:util";
import { expect, it } from "vitest";
import { Secret } from "./secret.ts";

it("is shown nowhere, however it is printed, and revealed on purpose", () => {
  const canary = "canary-9fK2mQ7xWv";
  const secret = new Secret(canary);
  const printed = [
    String(secret),
    secret.toString(),
    JSON.stringify({ nested: [secret] }),
    inspect({ nested: { secret } }, { depth: 9, showHidden: true }),
    format("%s %o %O %j", secret, secret, secret, secret),
    Object.values(secret).join(),
    new Error("with a cause", { cause: secret }).stack,
  ].join("\n");
  expect(printed).not.toContain(canary);
  expect(printed).toContain("[secret]");
  expect(secret.reveal()).toBe(canary);
});
