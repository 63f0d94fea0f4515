import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withLock } from "./lock.ts";
import { project } from "./setup.ts";
import { temporaryDirectory } from "../test/fake-machine.ts";

describe("withLock", () => {
  it("lets one at a time work, and tells the other that it waits", async () => {
    const file = join(temporaryDirectory(), "cache", "lock");
    const events: string[] = [];
    const work = (name: string) => () => {
      events.push(`${name} begins`);
      return new Promise<void>((resolve) => {
        setTimeout(() => {
          events.push(`${name} ends`);
          resolve();
        }, 100);
      });
    };
    const waits = (name: string) => () => void events.push(`${name} waits`);
    await Promise.all([withLock(file, waits("a"), work("a")), withLock(file, waits("b"), work("b"))]);
    expect(events).toEqual(["a begins", "b waits", "a ends", "b begins", "b ends"]);
  });

  it("is free again when its holder was killed", async () => {
    const file = join(temporaryDirectory(), "lock");
    const script = `import { withLock } from ${JSON.stringify(join(project, "toolchain", "lock.ts"))};
      await withLock(${JSON.stringify(file)}, () => {}, () => { console.log("held"); return new Promise((r) => setTimeout(r, 60000)); });`;
    const holder = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    const result = withLock(
      file,
      () => holder.kill("SIGKILL"),
      () => Promise.resolve("mine"),
    );
    expect(await result).toBe("mine");
  });
});
