import { expect, it } from "vitest";
import { unlikeRouter } from "./serving-now.ts";
import type { HostReport } from "../host/look.ts";

const well: HostReport["router"] = {
  state: "running",
  slot: "green",
  persisted: undefined,
  health: { status: "healthy", version: "v2.0.0" },
};

it.each<[string, Partial<HostReport["router"]>, RegExp | undefined]>([
  ["as it is wanted", {}, undefined],
  [
    "a server that says itself that it is unhealthy answers",
    { health: { status: "unhealthy", version: "v2.0.0" } },
    undefined,
  ],
  ["the other slot", { slot: "blue" }, /^the router sends requests to blue, not to green$/],
  [
    "no container",
    { state: undefined, slot: undefined, health: undefined },
    /^nothing serves: the router's container is not there$/,
  ],
  [
    "a container that was stopped",
    { state: "exited", slot: undefined, health: undefined },
    /^nothing serves: the router's container is exited$/,
  ],
  [
    "no slot",
    { slot: undefined, health: { status: "unhealthy", detail: "HTTP 503" } },
    /^nothing serves: the router has no slot to send requests to \(HTTP 503\)$/,
  ],
  [
    "a slot that is down",
    { health: { status: "unhealthy", detail: "HTTP 502" } },
    /^the router sends requests to green, which does not answer \(HTTP 502\): docker logs togather-x-green$/,
  ],
  [
    "a router that is silent",
    { health: { status: "no answer", detail: "nothing listens" } },
    /does not answer \(nothing listens\)/,
  ],
])("after a run without a switch, the router is asked: %s", (_what, router, said) => {
  const text = unlikeRouter({ router: { ...well, ...router } }, "green", "x");
  if (said === undefined) expect(text).toBeUndefined();
  else expect(text).toMatch(said);
});
