import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as files from "../files.ts";
import { readSlotFile, restoreSlotFile, writeSlotFile } from "./slot-file.ts";
import { type SlotState } from "../../contract/slot-file.ts";

const full = { is: false };
vi.mock("../files.ts", async (original) => {
  const real = await original<typeof files>();
  return {
    ...real,
    writeFileAtomically: (...args: Parameters<typeof real.writeFileAtomically>) =>
      full.is
        ? Promise.reject(Object.assign(new Error("no space left on device"), { code: "ENOSPC" }))
        : real.writeFileAtomically(...args),
  };
});

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-slot-file-"));
  file = join(directory, "slot.json");
  full.is = false;
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("the slot file on a disk that is full", () => {
  const long: SlotState = {
    slot: "green",
    changedAt: "2026-01-01T00:00:00.000Z",
    versions: { blue: "v1.0.0", green: "v1.10.0" },
    served: {},
    proved: { green: "x".repeat(64) },
    sentBack: [],
  };
  const short: SlotState = { ...long, slot: "blue", proved: {} };

  it("is overwritten where it stands, by a shorter one and a longer one", async () => {
    await writeSlotFile(file, long);
    const before = (await readSlotFile(file))?.text;
    full.is = true;
    await writeSlotFile(file, short);
    expect((await readSlotFile(file))?.state).toEqual(short);
    expect(await readdir(directory)).toEqual(["slot.json"]);
    await restoreSlotFile(file, before);
    expect(await readFile(file, "utf8")).toBe(before);
    const longer = { ...long, proved: { blue: "y".repeat(200), green: "z".repeat(200) } };
    await writeSlotFile(file, longer);
    expect((await readSlotFile(file))?.state).toEqual(longer);
  });

  it("can't be made", async () => {
    full.is = true;
    await expect(writeSlotFile(file, long)).rejects.toThrow(/ENOENT/);
    expect(await readdir(directory)).toEqual([]);
  });
});
