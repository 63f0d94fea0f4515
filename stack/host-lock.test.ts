import { chmodSync, existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { afterEach, describe, expect, it, vi } from "vitest";
import { releaseOfSetting } from "../config/release.ts";
import type { Settings } from "../config/settings.ts";
import { holdHostLock, refusal } from "./host-lock.ts";

const slots = {
  blue: { version: "v1.3.2", commit: "9f8e7d6".padEnd(40, "0") },
  green: { version: "v1.4.0", commit: `sha256:${"a".repeat(64)}` },
};
const holder = {
  held_by: "alice@laptop",
  pid: 4711,
  since: "2026-01-28T14:30:22.000Z",
  stack: "organization/togather/production",
  active_slot: "green" as const,
  slots,
};

describe("a refusal", () => {
  it("says who holds the lock, since when, for what, and what to do", () => {
    expect(refusal({ name: "production", host: "ssh://deploy@events.example.org" }, holder))
      .toBe(`The deployment production is locked: another one is running. Nothing was changed.
  held by: alice@laptop, pid 4711, since 2026-01-28T14:30:22.000Z
  for: stack organization/togather/production: green is to serve; blue v1.3.2 (9f8e7d6), green v1.4.0 (aaaaaaa)
  lock: /tmp/togather-deploy-production.lock on ssh://deploy@events.example.org
  → wait until it has ended and run this again. The lock ends with the process that holds it, kill -9 included; removing the file frees nothing.
  → if that machine can't be reached: DOCKER_HOST=ssh://deploy@events.example.org docker rm -f $(DOCKER_HOST=ssh://deploy@events.example.org docker ps -q --filter label=org.togather.lock=production)
  → to deploy beside it all the same: pulumi config set togather:force true`);
  });

  it("does without a name", () => {
    expect(refusal({ name: "staging", host: "" }, undefined)).toMatch(
      /held by: somebody who has left no name, such as flock by hand\n {2}lock: \/tmp\/togather-deploy-staging\.lock on the Docker host\n/,
    );
  });
});

describe("a program that no engine runs", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it("takes no lock, and calls no Docker", async () => {
    const directory = mkdtempSync(join(tmpdir(), "togather-unit-"));
    const called = join(directory, "called");
    writeFileSync(join(directory, "docker"), `#!/bin/sh\n: > '${called}'\n`);
    chmodSync(join(directory, "docker"), 0o755);
    vi.stubEnv("PATH", `${directory}${delimiter}${process.env["PATH"] ?? ""}`);
    await pulumi.runtime.setMocks(
      { newResource: ({ name }) => ({ id: name, state: {} }), call: () => ({}) },
      "togather",
      "unit",
      false,
      "organization",
    );
    await holdHostLock({
      name: "unit",
      host: "",
      force: false,
      activeSlot: "blue",
      slots: { blue: releaseOfSetting(slots.blue) },
      deployment: {} as Settings["deployment"],
    });
    expect(existsSync(called)).toBe(false);
  });
});
