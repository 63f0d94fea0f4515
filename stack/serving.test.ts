import { expect, it, vi } from "vitest";
import type { Settings } from "../config/settings.ts";
import { releaseOfSetting } from "../config/release.ts";
import { hadOf, hostStart } from "./serving.ts";

const v1 = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const v2 = { version: "v1.1.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
const settings = {
  ...{ name: "production", activeSlot: "green", standby: "running", database: { mode: "bundled" } },
  slots: { blue: releaseOfSetting(v1), green: releaseOfSetting(v2) },
} as unknown as Settings;
/** Blue serves; green has served, and has no container. */
const host = {
  ...{ serving: undefined, ids: {}, databaseUrls: {}, held: { blue: v1 }, served: { blue: v1, green: v2 } },
  router: { slot: "blue", memory: "blue", file: "blue", sentBack: [] },
  states: { database: "running", router: "running", blue: "running" },
};

it.each([
  ["was removed by hand where Pulumi's state has it", ["togather-production-blue", "togather-production-green"], true],
  ["was taken out by a deployment where the state has none", ["togather-production-blue"], false],
  ["was removed by hand, as far as can be told, where nobody knows the state", undefined, true],
])("a slot's container that has served, and is not there, %s", async (_what, known, gone) => {
  const had = await hadOf(settings, host, () => Promise.resolve(known));
  const start = hostStart(settings, { ...host, had } as never);
  expect(start.gone).toEqual(gone ? ["green"] : []);
  expect(start.slots).toEqual(gone ? { blue: v1, green: v2 } : { blue: v1 });
  // A release that has once kept all traffic needs no trial on a rollback.
  expect(start.served).toEqual(host.served);
});

it("asks for Pulumi's state only where it decides", async () => {
  const ask = vi.fn(() => Promise.resolve([]));
  await hadOf(settings, { ...host, states: { ...host.states, green: "running" } }, ask);
  await hadOf(settings, { ...host, served: { blue: v1 } }, ask);
  expect(ask).not.toHaveBeenCalled();
});
