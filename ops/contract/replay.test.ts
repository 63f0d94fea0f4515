import { describe, expect, it } from "vitest";
import { isReplayable } from "./replay.ts";

describe("a path that may be asked once more", () => {
  it.each([
    ["/events", ["/events"], true],
    ["/events/7", ["/events"], false],
    ["/events/7", ["/events/*"], true],
    ["/events/7/delete", ["/events/*"], false],
    ["/events/7/places", ["/events/**"], true],
    ["/event5", ["/event."], false],
    ["/caf%C3%A9", ["/*"], true],
    // Paths that a server may read as another path than the allowed one, or that URLs read as another host.
    ["/events/../admin", ["/**"], false],
    ["/events/..", ["/**"], false],
    ["/events/..%2fadmin", ["/events/*"], false],
    ["/events/%2e%2e/admin", ["/**"], false],
    ["//evil.example/events", ["/**"], false],
    ["/events\\..\\admin", ["/**"], false],
    ["/events?token=1", ["/**"], false],
    ["/events#x", ["/**"], false],
    ["http://evil.example/", ["**"], false],
    ["*", ["**"], false],
    ["", ["**"], false],
  ] as const)("%s, of %j: %s", (path, patterns, allowed) => {
    expect(isReplayable(path, patterns)).toBe(allowed);
  });
});
