import { expect, it } from "vitest";
import type { RecentQuestion } from "../contract/questions.ts";
import { recentIn } from "./recent-requests.ts";

const line = (over: Record<string, unknown> = {}): string =>
  JSON.stringify({
    ...{ time: "2026-01-01T00:00:00+00:00", method: "GET", path: "/events", slot: "blue", status: 200 },
    ...{ upstream_addr: "10.1.2.10:8080", upstream_status: "200", user_agent: "somebody" },
    ...over,
  });
const question: RecentQuestion = {
  ...{ do: "list recent requests", slot: "blue", paths: ["/events", "/events/*"], requests: 3 },
};

it("finds the newest GET requests of a slot, of allowed paths", () => {
  const log = [
    line({ path: "/events/0" }),
    line({ path: "/events/1" }),
    line({ method: "POST" }),
    line({ slot: "green" }),
    line({ slot: "" }),
    line({ path: "/admin" }),
    line({ upstream_status: "", upstream_addr: "" }),
    line({ upstream_status: "502, 200", upstream_addr: "10.1.2.10:8080, 10.1.2.11:8080" }),
    "2026/01/01 00:00:00 [warn] 7#7: a client's request",
    line({ path: "/events/2" }).slice(0, 40),
    line({ path: "/events/3", upstream_status: "404" }),
    line({ path: "/events" }),
  ].join("\n");
  expect(recentIn(log, question)).toEqual({
    paths: ["/events/1", "/events/3", "/events"],
    address: "10.1.2.10:8080",
  });
  expect(recentIn("", question)).toEqual({ paths: [], address: null });
});
