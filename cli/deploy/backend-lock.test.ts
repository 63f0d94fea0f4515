import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  areStale,
  backendDirectory,
  heldText,
  holderOf,
  isLocked,
  locksIn,
  locksOf,
  removeLocks,
  type BackendLock,
} from "./backend-lock.ts";

/** Output of Pulumi 3.259. */
const said = `error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file with \`pulumi cancel\`.
  file:///tmp/a%20project/.togather/state/.pulumi/locks/organization/togather/production/2154ec0d-4fcf-42f2-ad56-452b9982fc90.json?no_tmp_dir=true: created by alice@laptop (pid 4711) at 2026-11-25T04:16:45Z
`;
const lock: BackendLock = {
  url: "file:///x.json",
  user: "alice",
  host: hostname(),
  pid: process.pid,
  since: "2026-11-25T04:16:45Z",
};

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather lock "));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe("the lock of Pulumi's backend", () => {
  it("is known by Pulumi's own refusal", () => {
    expect(isLocked(said)).toBe(true);
    expect(locksIn(said)).toEqual([
      {
        url: expect.stringMatching(/^file:.*no_tmp_dir=true$/) as string,
        user: "alice",
        host: "laptop",
        pid: 4711,
        since: "2026-11-25T04:16:45Z",
      },
    ]);
    expect(isLocked("error: The deployment production is locked: another one is running.")).toBe(false);
  });

  it("is left behind when its process on this machine is gone; of another machine nobody can tell", async () => {
    const child = spawn("true");
    await once(child, "exit");
    expect(holderOf({ ...lock, pid: child.pid ?? 0 })).toBe("gone");
    expect(holderOf({ ...lock, host: "laptop" }, "server")).toBe("elsewhere");
    // This process has the lock's pid and is not Pulumi: where the program's name can be read, the lock's process
    // counts as gone.
    expect(holderOf(lock)).toBe(existsSync("/proc/self/stat") ? "gone" : "alive");
  });

  it("may be another machine's of the same name where others share the backend, and is never stale then", async () => {
    const child = spawn("true");
    await once(child, "exit");
    const gone = { ...lock, pid: child.pid ?? 0 };
    const shared = { ...gone, url: "s3://bucket/.pulumi/locks/organization/togather/production/x.json" };
    expect(holderOf(gone)).toBe("gone");
    expect(holderOf(shared)).toBe("unknown");
    expect(holderOf(shared, hostname(), () => true)).toBe("gone");
    expect(await areStale([gone, shared], { name: "nobody", host: "" }, true)).toBe(false);
    expect(heldText([shared], "togather unlock --force")).toMatch(
      /: no process of this machine; perhaps one of another machine of the same name, .*\n.*togather unlock --force$/,
    );
  });

  it("is found in a backend of files, and removed by its name alone", async () => {
    const locks = join(directory, ".pulumi/locks/organization/togather/production");
    mkdirSync(locks, { recursive: true });
    const write = (name: string, text: string): void => {
      writeFileSync(join(locks, name), text);
    };
    write("a.json", JSON.stringify({ pid: 1, username: "bob", hostname: "ci", timestamp: "2026-01-01T00:00:00Z" }));
    write("half.json", "{");
    const found = locksOf(directory, "togather", "production");
    expect(found).toMatchObject([{ user: "bob", host: "ci", pid: 1, since: "2026-01-01T00:00:00Z" }]);
    write("newer.json", "{}");
    await removeLocks(
      found.map(({ url, ...rest }) => ({ ...rest, url: `${url}?no_tmp_dir=true` })),
      () => Promise.reject(new Error("not asked for")),
    );
    expect(readdirSync(locks).sort()).toEqual(["half.json", "newer.json"]);
    expect(locksOf(directory, "togather", "other")).toEqual([]);
  });

  it("is removed by Pulumi where it is no file", async () => {
    let cancelled = 0;
    const cancel = (): Promise<void> => {
      cancelled += 1;
      return Promise.resolve();
    };
    await removeLocks([{ ...lock, url: "s3://bucket/.pulumi/locks/x.json" }], cancel);
    await removeLocks([], cancel);
    expect(cancelled).toBe(2);
  });

  it("is held by somebody whom the error names, with the command that frees it", () => {
    expect(heldText([{ ...lock, host: "laptop", pid: 4711 }], "togather unlock --force")).toBe(
      "Pulumi's state is locked. Nothing was changed.\n  held by: alice@laptop (pid 4711) since 2026-11-25T04:16:45Z: another machine than this one, of which nothing can be told from here\n  → wait until it has ended; or, once it is certain that it is gone: togather unlock --force",
    );
  });

  it("is in the directory that the backend's URL names", () => {
    expect(backendDirectory("file:///a%20b/state?no_tmp_dir=true", "/")).toBe("/a b/state");
    expect(backendDirectory("file://~", "/")).toBe(homedir());
    expect(backendDirectory("file://./state", "/work")).toBe("/work/state");
    expect(backendDirectory("https://api.pulumi.com", "/")).toBeUndefined();
    expect(backendDirectory("s3://bucket", "/")).toBeUndefined();
  });
});
