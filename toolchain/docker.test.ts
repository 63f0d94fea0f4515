import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { baseImage } from "./base-image.ts";
import { dockerEngine } from "./docker.ts";
import type { Machine } from "./machine.ts";
import { Problem } from "./problem.ts";
import { fakeMachine, recorder } from "../test/fake-machine.ts";

/** A Docker client whose engine does not answer. */
const DOWN = (message = "Cannot connect to the Docker daemon", context = "default") => `
case "$1" in context) echo ${context};; *) echo "${message}" >&2; exit 1;; esac`;

async function problem(machine: Machine): Promise<string> {
  const step = dockerEngine(machine);
  expect(await step.check()).toBeUndefined();
  const error: unknown = await step.supply(recorder().report).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(Problem);
  return (error as Problem).message;
}

describe("the Docker engine", () => {
  it("is used where it is", async () => {
    expect(await dockerEngine(fakeMachine({ docker: "echo 27.1.0" })).check()).toBe("27.1.0");
    expect(await dockerEngine(fakeMachine({ docker: "echo 20.10.24+dfsg1" })).check()).toBe("20.10.24+dfsg1");
  });

  it("must not be too old", async () => {
    await expect(dockerEngine(fakeMachine({ docker: "echo 19.03.15" })).check()).rejects.toThrow(
      /is 19\.03\.15; this project needs 20\.10/,
    );
  });

  it("is not installed: says how", async () => {
    expect(await problem(fakeMachine({}))).toMatch(/not installed.*\n.*apt-get install docker\.io/);
    expect(await problem(fakeMachine({}, { isDebian: false }))).toMatch(/docs\.docker\.com/);
    expect(await problem(fakeMachine({}, { platform: "darwin", isDebian: false }))).toMatch(/Docker Desktop/);
  });

  it("is not running: says how to start it", async () => {
    expect(await problem(fakeMachine({ docker: DOWN(), dockerd: "" }))).toMatch(
      /not running.*\n.*systemctl start docker/,
    );
  });

  it("is not for this user: says how to allow it", async () => {
    expect(
      await problem(fakeMachine({ docker: DOWN("permission denied while trying to connect"), dockerd: "" })),
    ).toMatch(/usermod -aG docker/);
  });

  it("is never started or installed here when the user chose one elsewhere", async () => {
    const root = { isRoot: true, isDebian: true };
    const programs = { docker: DOWN("Cannot connect"), dockerd: "touch $HOME/started" };
    expect(await problem(fakeMachine(programs, { ...root, env: { DOCKER_HOST: "tcp://build:2376" } }))).toMatch(
      /at DOCKER_HOST=tcp:\/\/build:2376/,
    );
    expect(await problem(fakeMachine({ ...programs, docker: DOWN("Cannot connect", "colima") }, root))).toMatch(
      /context "colima"/,
    );
  });
});

describe("the base image", () => {
  const ENGINE = (pull: string) => `
case "$1" in
  image) test -e "$HOME/image" && echo sha256:1;;
  pull) ${pull};;
  import) echo "$*" > "$HOME/image";;
esac`;

  it("is pulled when it is missing", async () => {
    const step = baseImage(fakeMachine({ docker: ENGINE(': > "$HOME/image"') }));
    expect(await step.check()).toBeUndefined();
    expect(await step.supply(recorder().report)).toMatch(/trixie-slim, pulled/);
    expect(await step.check()).toBe("debian:trixie-slim");
  });

  it("is made from packages where Docker Hub can't be reached", async () => {
    const machine = fakeMachine(
      { docker: ENGINE("echo no route >&2; exit 1"), mmdebstrap: 'echo "$*" > "$HOME/mmdebstrap"' },
      { isRoot: true },
    );
    const step = baseImage(machine);
    const { report, lines } = recorder();
    expect(await step.supply(report)).toMatch(/stand-in made from Debian packages/);
    expect(lines).toContain("Docker Hub can't be reached");
    expect(await step.check()).toBe("debian:trixie-slim");
  });

  it("installs what makes it first, where that is missing", async () => {
    const aptGet = `
echo "$*" >> "$HOME/apt"
case "$*" in *" install "*) printf '#!/bin/sh\\n' > "$HOME/bin/mmdebstrap"; /bin/chmod 755 "$HOME/bin/mmdebstrap";; esac`;
    const machine = fakeMachine({ docker: ENGINE("exit 1"), "apt-get": aptGet }, { isRoot: true });
    await baseImage(machine).supply(recorder().report);
    const calls = readFileSync(join(machine.env.HOME ?? "", "apt"), "utf8")
      .trim()
      .split("\n");
    expect(calls).toEqual([
      expect.stringMatching(/ update$/),
      expect.stringMatching(/ install -y --no-install-recommends mmdebstrap debian-archive-keyring$/),
    ]);
  });

  it("says so when apt-get fails", async () => {
    const machine = fakeMachine(
      { docker: ENGINE("exit 1"), "apt-get": "echo E: no space left >&2; exit 100" },
      { isRoot: true },
    );
    await expect(baseImage(machine).supply(recorder().report)).rejects.toThrow(
      /apt-get could not install mmdebstrap, .*\n {2}E: no space left/,
    );
  });

  it("says what to do when it can't be supplied", async () => {
    const step = baseImage(fakeMachine({ docker: ENGINE("exit 1") }));
    await expect(step.supply(recorder().report)).rejects.toThrow(/docker save debian:trixie-slim/);
  });
});
