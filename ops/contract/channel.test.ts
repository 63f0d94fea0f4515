import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  encodeAlive,
  encodeAnswer,
  encodeQuestion,
  encodeStart,
  encodeStop,
  openChannel,
  questionIn,
} from "./channel.ts";

describe("the channel", () => {
  it("carries any payload, however it is cut, and a stop after it", async () => {
    const payload = Buffer.concat([Buffer.from('\n{"stop":1}\n\0'), randomBytes(3000), Buffer.from("\n")]);
    for (const size of [1, 7, 1000, 100_000]) {
      const stream = new PassThrough();
      const channel = openChannel(stream);
      const bytes = Buffer.concat([encodeStart(payload), Buffer.from(encodeStop({ message: "enough", hint: "wait" }))]);
      for (let at = 0; at < bytes.length; at += size) stream.write(bytes.subarray(at, at + size));
      expect((await channel.payload).equals(payload)).toBe(true);
      expect(await channel.stopped).toEqual({ message: "enough", hint: "wait" });
    }
  });

  it("carries answers in their order, before and after they are waited for", async () => {
    const stream = new PassThrough();
    const channel = openChannel(stream);
    stream.write(encodeStart(Buffer.alloc(0)));
    stream.write(encodeAnswer({ host: "a" }) + encodeAnswer("b"));
    await channel.payload;
    expect([await channel.answer(), await channel.answer()]).toEqual([{ host: "a" }, "b"]);
    const waiting = channel.answer();
    stream.write(encodeAnswer(null));
    expect(await waiting).toBeNull();
    const never = channel.answer();
    stream.end();
    await expect(never).rejects.toThrow("the client is gone");
    await expect(channel.answer()).rejects.toThrow("the client is gone");
  });

  it("knows a question from a result", () => {
    expect(questionIn(encodeQuestion({ do: "it" }).trim())).toEqual({ question: { do: "it" } });
    expect(questionIn('{"from":1,"question":2}')).toBeUndefined();
  });

  it("tells that the client is gone", async () => {
    const stream = new PassThrough();
    const channel = openChannel(stream);
    stream.write(encodeStart(Buffer.alloc(0)));
    expect((await channel.payload).length).toBe(0);
    stream.end();
    expect(await channel.stopped).toBeUndefined();
  });

  it("does not take a client for gone that went on while the step was stopped", async () => {
    const program = `
      import { openChannel } from ${JSON.stringify(new URL("channel.ts", import.meta.url).href)};
      const channel = openChannel(process.stdin, 200);
      await channel.payload;
      console.log("begun");
      const end = await Promise.race([channel.stopped, new Promise((resolve) => setTimeout(resolve, 1200, "goes on"))]);
      console.log(JSON.stringify(end));
      process.exit();`;
    const step = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let said = "";
    step.stdout.on("data", (data: Buffer) => (said += data.toString()));
    step.stdin.on("error", () => undefined);
    step.stdin.write(encodeStart(Buffer.alloc(0)));
    const alive = setInterval(() => step.stdin.write(encodeAlive()), 40);
    try {
      while (!said.includes("begun")) await sleep(10);
      await sleep(100);
      step.kill("SIGSTOP");
      await sleep(600);
      step.kill("SIGCONT");
      await once(step, "close");
      expect(said).toBe('begun\n"goes on"\n');
    } finally {
      clearInterval(alive);
      step.kill("SIGKILL");
    }
  });

  it("takes a client that has become silent for gone, and no other", async () => {
    const stream = new PassThrough();
    const channel = openChannel(stream, 120);
    stream.write(encodeStart(Buffer.alloc(0)));
    let stopped = false;
    void channel.stopped.then(() => {
      stopped = true;
    });
    // A client that never sends a sign of life may be silent.
    await sleep(200);
    for (let beat = 0; beat < 4; beat++) {
      stream.write(encodeAlive());
      await sleep(60);
    }
    expect(stopped).toBe(false);
    expect(await channel.stopped).toEqual({
      message: "stopped, because nothing was heard of the client that started this step for 0.12 s",
      interrupted: true,
    });
    await expect(channel.answer()).rejects.toThrow("the client is gone");
  });

  it("refuses half a payload", async () => {
    const stream = new PassThrough();
    const channel = openChannel(stream);
    stream.end(encodeStart(Buffer.from("whole")).subarray(0, -1));
    await expect(channel.payload).rejects.toThrow("before all files were here");
  });

  it("takes what it can't read for the end", async () => {
    const stream = new PassThrough();
    const channel = openChannel(stream);
    stream.write("nonsense\n");
    expect(await channel.stopped).toBeUndefined();
    await expect(channel.payload).rejects.toThrow();
  });
});
