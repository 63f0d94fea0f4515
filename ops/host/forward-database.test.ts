import { describe, expect, it } from "vitest";
import { forwardedPort, isElsewhere } from "./forward-database.ts";

describe("the database's port", () => {
  it("is forwarded where the engine's loopback is another machine's", () => {
    expect(isElsewhere("ssh://deploy@events.example.org", {})).toBe(true);
    expect(isElsewhere("tcp://10.0.0.5:2376", {})).toBe(true);
    expect(isElsewhere("", { DOCKER_HOST: "ssh://deploy@events.example.org" })).toBe(true);
    expect(isElsewhere("", {})).toBe(false);
    expect(isElsewhere("", { DOCKER_HOST: "unix:///run/user/1000/docker.sock" })).toBe(false);
    expect(isElsewhere("unix:///var/run/docker.sock", { DOCKER_HOST: "tcp://10.0.0.5:2376" })).toBe(false);
  });

  it("is the same at each run, another one for another deployment, and never the kernel's to give away", () => {
    const ports = Array.from({ length: 200 }, (_, i) => forwardedPort(`name-${i}`));
    expect(forwardedPort("name-0")).toBe(ports[0]);
    expect(new Set(ports).size).toBeGreaterThan(190);
    expect(Math.min(...ports)).toBeGreaterThanOrEqual(20_000);
    expect(Math.max(...ports)).toBeLessThan(30_000);
  });
});
