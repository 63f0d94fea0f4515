import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { showContainerLog } from "../../cli/host/container-log.ts";
import { docker, passToDocker, tryDocker } from "./docker.ts";
import { takeHostLock, thisHolder } from "./host-lock.ts";
import { fellSilent, patience } from "./unreachable.ts";

const usual = { ...patience };
let directory: string;
let hosts = 0;
/** A new address each time: a host that has answered is not asked again. */
const host = (scheme = "tcp"): string => `${scheme}://deploy@192.0.2.${++hosts}:2375`;
/** Installs a client in place of Docker's. */
function install(script: string): void {
  const file = join(directory, "docker");
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}
let lines: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-unreachable-test-"));
  vi.stubEnv("PATH", `${directory}${delimiter}${process.env["PATH"] ?? ""}`);
  Object.assign(patience, { tellMs: 200, askMs: 800, againMs: 300 });
  lines = [];
  vi.spyOn(process.stderr, "write").mockImplementation((line) => {
    lines.push(String(line));
    return true;
  });
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  Object.assign(patience, usual);
  rmSync(directory, { recursive: true, force: true });
});

describe("a Docker host that swallows what is sent to it", () => {
  // A client of such a host does nothing. Its child keeps its streams open, as ssh does.
  const swallowed = "sleep 30 & wait";

  it.each([
    ["ssh", /ssh -o ConnectTimeout=10 -p 2375 deploy@192\.0\.2\.\d+ true/],
    ["tcp", /nc -vz -w 10 192\.0\.2\.\d+ 2375/],
  ])("is given up, named, and told how to be looked at: %s", async (scheme, hint) => {
    install(swallowed);
    const [began, at] = [Date.now(), host(scheme)];
    await expect(docker(["ps"], { host: at })).rejects.toMatchObject({
      message: expect.stringContaining(`the Docker host ${at} does not answer`) as unknown,
      hint: expect.stringMatching(hint) as unknown,
    });
    expect(Date.now() - began).toBeLessThan(5_000);
    // The next client need not wait as long, and nothing is printed twice.
    install("sleep 30 & wait");
    const again = Date.now();
    await expect(docker(["ps"], { host: at })).rejects.toThrow(/does not answer/);
    expect(Date.now() - again).toBeLessThan(2_500);
    expect(lines).toHaveLength(1);
    expect(lines.join("")).toMatch(new RegExp(`^Waiting for the Docker host ${at}, which has not answered for 0.2 s`));
  });

  it("is given up by DOCKER_HOST as well, and where the lock is taken", async () => {
    install(swallowed);
    vi.stubEnv("DOCKER_HOST", host());
    await expect(docker(["ps"])).rejects.toThrow(/does not answer/);
    await expect(
      takeHostLock({
        name: "unit",
        host: host(),
        holder: thisHolder({ stack: "unit", active_slot: "blue", slots: {} }),
        force: false,
        engine: undefined,
        onWait: () => undefined,
        onLost: () => undefined,
      }),
    ).rejects.toMatchObject({
      message: expect.stringMatching(
        /can't be locked on the Docker host: the Docker host .* does not answer/,
      ) as unknown,
      hint: expect.stringContaining("togather:host") as unknown,
    });
  });
});

describe("a Docker host that falls silent in the middle", () => {
  /** Answers the plain question twice, and does not answer after that. */
  const installDying = (other: string): void => {
    install(
      `case $1 in version) echo >> '${directory}/asked'; [ $(wc -l < '${directory}/asked') -le 2 ] && echo 1 || { sleep 30 & wait; } ;; *) ${other} ;; esac`,
    );
  };
  const follow = async (at: string): Promise<string[]> => {
    const shown: string[] = [];
    const ended = showContainerLog(
      { host: at, container: "c", tail: undefined, follow: true },
      (line) => shown.push(line),
      new AbortController().signal,
    );
    await expect(ended).rejects.toThrow(`the Docker host ${at} does not answer`);
    return shown;
  };

  it("ends the log that is followed, with what to do", async () => {
    installDying("echo first; sleep 30 & wait");
    expect(await follow(host())).toEqual(["first", expect.stringContaining("no answer from the Docker host")]);
  });

  it("ends a command on this process's own streams, which says nothing itself", async () => {
    installDying("exec sleep 30");
    const at = host();
    const child = passToDocker(["exec", "c", "sh"], { host: at });
    await new Promise((resolve) => child.once("close", resolve));
    expect(fellSilent(child)?.message).toContain(`the Docker host ${at} does not answer`);
  });

  it("is left alone while it answers, however long it has nothing to say", async () => {
    install("case $1 in version) echo 1 ;; *) sleep 3 ;; esac");
    const child = passToDocker(["exec", "c", "sh"], { host: host() });
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect([code, fellSilent(child)]).toEqual([0, undefined]);
  });
});

describe("a Docker host that answers", () => {
  it("may take as long as it likes: it is asked once beside it, and left alone", async () => {
    install(`case $1 in version) echo >> '${directory}/asked' ;; *) sleep 1.5; echo done ;; esac`);
    const at = host();
    const both = [docker(["build"], { host: at }), docker(["build"], { host: at })];
    expect(await Promise.all(both)).toEqual(["done", "done"]);
    expect(existsSync(join(directory, "asked"))).toBe(true);
  });

  it("and refuses says so itself", async () => {
    install("sleep 0.5; echo 'error during connect: connection refused' >&2; exit 1");
    await expect(docker(["ps"], { host: host() })).rejects.toThrow(/connection refused/);
  });

  it("and has begun to speak is never asked", async () => {
    install(`case $1 in version) echo >> '${directory}/asked' ;; *) echo begun; sleep 1.2 ;; esac`);
    expect((await tryDocker(["logs"], { host: host() })).stdout).toBe("begun");
    expect(existsSync(join(directory, "asked"))).toBe(false);
  });
});

it("leaves the engine of this machine alone, however long it takes", async () => {
  install("[ $1 = version ] && sleep 30; sleep 1.5; echo done");
  for (const local of ["", "unix:///var/run/docker.sock"]) {
    vi.stubEnv("DOCKER_HOST", "");
    expect(await docker(["ps"], { host: local })).toBe("done");
  }
  expect(lines).toEqual([]);
});
