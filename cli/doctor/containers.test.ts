import { expect, it } from "vitest";
import { differenceFindings } from "./containers.ts";

const v1 = { version: "v1.0.0", commit: "1".repeat(40) };
const v2 = { version: "v2.0.0", commit: "2".repeat(40) };
const names = { name: "production", file: "the stack file", stack: "production" };
const wanted = {
  activeSlot: "blue",
  slots: { blue: v1, green: v2 },
  standby: "running",
  bundledDatabase: true,
} as const;
const running = { database: "running", router: "running", blue: "running", green: "running" };
const real = {
  router: { memory: "blue", file: "blue" },
  states: running,
  held: wanted.slots,
  had: wanted.slots,
} as const;

it("names what is down, gone, or not where it is wanted, with the command", () => {
  expect(differenceFindings(wanted, real, names)).toEqual([
    { check: "containers", status: "ok", found: "all that are to run do" },
  ]);
  expect(differenceFindings(wanted, { ...real, router: undefined, states: {} }, names)).toMatchObject([
    { status: "ok" },
  ]);
  const states = { ...running, database: "exited", green: undefined };
  delete states.green;
  const found = differenceFindings(wanted, { ...real, router: { memory: "blue", file: "green" }, states }, names);
  expect(found.map((one) => `${one.status} ${one.found}`)).toEqual([
    "warn togather-production-db is exited",
    "warn green has no container, the stack file wants v2.0.0 (2222222) in it",
    "warn the router would come up on green after a restart",
  ]);
  expect(new Set(found.map(({ fix }) => fix))).toEqual(new Set([expect.stringMatching(/up --stack production$/)]));
});

it("leaves what a release is to bring to the release", () => {
  const first = { ...real, states: { ...running, green: undefined }, had: {} };
  expect(
    differenceFindings(
      { ...wanted, activeSlot: "green" },
      { ...first, states: JSON.parse(JSON.stringify(first.states)) as object },
      names,
    ),
  ).toEqual([{ check: "containers", status: "ok", found: "all that are to run do" }]);
});
