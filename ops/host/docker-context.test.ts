import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contextAddress, currentContext } from "./docker-context.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-context-"));
  writeFileSync(join(directory, "config.json"), JSON.stringify({ currentContext: "rootless" }));
  // The files that `docker context create` writes.
  for (const [name, host] of [
    ["rootless", "unix:///run/user/1000/docker.sock"],
    ["far", "tcp://10.9.8.7:2376"],
    ["events", "ssh://deploy@events.example.org"],
  ] as const) {
    const meta = join(directory, "contexts", "meta", createHash("sha256").update(name).digest("hex"));
    mkdirSync(meta, { recursive: true });
    writeFileSync(
      join(meta, "meta.json"),
      JSON.stringify({ Name: name, Metadata: {}, Endpoints: { docker: { Host: host, SkipTLSVerify: false } } }),
    );
  }
});
afterAll(() => {
  rmSync(directory, { recursive: true });
});
const env = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({ DOCKER_CONFIG: directory, ...more });

describe("the Docker client's context", () => {
  it("is the one that was chosen, by variable or for good", () => {
    expect(contextAddress(env())).toBe("unix:///run/user/1000/docker.sock");
    expect(contextAddress(env({ DOCKER_CONTEXT: "events" }))).toBe("ssh://deploy@events.example.org");
  });

  it("is none where DOCKER_HOST wins, or the default one is in use, or it is not there", () => {
    expect(currentContext(env({ DOCKER_HOST: "tcp://10.0.0.5:2376", DOCKER_CONTEXT: "far" }))).toBeUndefined();
    expect(currentContext(env({ DOCKER_CONTEXT: "default" }))).toBeUndefined();
    expect(currentContext(env({ DOCKER_CONTEXT: "gone" }))).toBeUndefined();
    expect(currentContext({ DOCKER_CONFIG: join(directory, "nowhere") })).toBeUndefined();
  });

  it("is refused where Pulumi's plugin would go elsewhere", () => {
    expect(() => contextAddress(env({ DOCKER_CONTEXT: "far" }))).toThrow(
      /the Docker client uses the context far \(tcp:\/\/10\.9\.8\.7:2376\), and Pulumi's Docker plugin can't/,
    );
  });
});
