import { describe, expect, it } from "vitest";
import { run } from "./run.ts";

const shell = (script: string, options: Partial<Parameters<typeof run>[2]> = {}) =>
  run("/bin/sh", ["-c", script], { env: { PATH: "/usr/bin:/bin" }, ...options });

describe("run", () => {
  it("collects what a program says, line by line", async () => {
    const lines: string[] = [];
    const result = await shell("echo one; sleep 0.05; echo two >&2; sleep 0.05; printf three", {
      onLine: (line) => lines.push(line),
    });
    expect(result).toEqual({ ok: true, stdout: "one\nthree", output: "one\ntwo\nthree" });
    expect(lines).toEqual(["one", "two", "three"]);
  });

  it("tells of a line that has only begun", async () => {
    const begun: string[] = [];
    const result = await shell("printf 'compiling ... '; sleep 0.1; echo 3 s", {
      onUnfinishedLine: (text) => begun.push(text),
    });
    expect(begun).toEqual(["compiling ... "]);
    expect(result.stdout).toBe("compiling ... 3 s");
  });

  it("reports a failure as a result", async () => {
    expect(await shell("echo no >&2; exit 3")).toEqual({ ok: false, stdout: "", output: "no" });
    expect(await run("no-such-program", [], { env: {} })).toMatchObject({
      ok: false,
      output: "spawn no-such-program ENOENT",
    });
  });

  it("says which signal ended a program", async () => {
    expect(await shell("echo begun; kill -9 $$")).toMatchObject({ ok: false, output: "begun\nended by SIGKILL" });
  });

  it("stops what takes too long, with what it has started", async () => {
    const start = Date.now();
    const result = await shell("echo begun; sleep 20; echo never", { timeLimit: 300 });
    expect(result).toMatchObject({ ok: false, output: "begun\nstopped: not finished after 0 s" });
    expect(Date.now() - start).toBeLessThan(5000);
  });

  it("stops what says nothing any more, but not what is slow and talks", async () => {
    expect(await shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done", { silenceLimit: 400 })).toMatchObject({
      ok: true,
    });
    expect(await shell("echo begun; sleep 20", { silenceLimit: 400 })).toMatchObject({
      ok: false,
      output: "begun\nstopped: no progress for 0 s",
    });
  });
});
