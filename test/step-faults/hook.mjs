/**
 * Preloaded into a step's program by tests (`node --import`): lists what it writes, and cuts it short at one of them. STEP_FAULT is
 * `KIND:NTH:WHAT WHERE`, the n-th time that this is done: programs and streams run side by side, so that a number among all writes
 * would be another write once in a while. Nothing of it is in the ops image, and no production code knows of it.
 *
 * | kind | |
 * |---|---|
 * | `count` | nothing is cut short |
 * | `kill` | SIGKILL before it |
 * | `tear` | SIGKILL half-way through a write, or 20 ms after a program was started |
 * | `full` | half of it is written, then there is no space, nor from then on, on that disk |
 * | `stop` | SIGSTOP before it, until somebody continues it |
 */
import { Buffer } from "node:buffer";
import childProcess from "node:child_process";
import fs from "node:fs";
import promises from "node:fs/promises";
import net from "node:net";

const [, kind = "count", nth = "0", chosen] = /^(\w+):(\d+):(.*)$/s.exec(process.env["STEP_FAULT"] ?? "") ?? [];
const writeSync = fs.writeSync.bind(fs);
const disks = ["/state", "/logs", "/backups", "/router", "/tmp"];
/** Counts by kind. @type {Map<string, number>} */
const counts = new Map();
/** @type {string | undefined} */
let fullDisk;

const diskOf = (path) => disks.find((disk) => path === disk || path.startsWith(`${disk}/`));

function noSpace(what) {
  return Object.assign(new Error(`ENOSPC: no space left on device, ${what}`), {
    code: "ENOSPC",
    errno: -28,
    syscall: what,
  });
}

const kill = () => process.kill(process.pid, "SIGKILL");

/** @returns "half" where half of it is to be written before `cut`. @throws where there is no room. */
function arrive(what, path, needsRoom) {
  // Neither an id nor a time is the same in the next run.
  const about = `${what} ${path.replaceAll(/[0-9a-f]{8,}|\d{6}/g, "*")}`;
  const count = (counts.get(about) ?? 0) + 1;
  counts.set(about, count);
  writeSync(2, `@fault ${count} ${about}\n`);
  const now = about === chosen && count === Number(nth);
  if (now && kind === "kill") kill();
  if (now && kind === "stop") process.kill(process.pid, "SIGSTOP");
  if (now && kind === "full") fullDisk = diskOf(path);
  if (now && kind === "tear") return "half";
  if (fullDisk !== undefined && needsRoom && diskOf(path) === fullDisk) {
    if (now && what === "write") return "half";
    throw noSpace(what);
  }
  return "all";
}

/** After half of a write. */
function cut() {
  if (kind === "tear") kill();
  throw noSpace("write");
}

const half = (data) => {
  const bytes = Buffer.from(data);
  return bytes.subarray(0, Math.floor(bytes.length / 2));
};
const writes = (flags) =>
  typeof flags === "string" ? /[wa+]/.test(flags) : typeof flags === "number" && (flags & 3) !== 0;

const open = promises.open;
promises.open = async (path, flags = "r", mode = 0o666) => {
  if (!writes(flags)) return open(path, flags, mode);
  arrive("open", String(path), true);
  const handle = await open(path, flags, mode);
  for (const name of ["write", "writeFile", "appendFile"]) {
    const original = handle[name].bind(handle);
    handle[name] = async (data, ...rest) => {
      if (arrive("write", String(path), true) === "all") return original(data, ...rest);
      await original(half(data), ...rest);
      return cut();
    };
  }
  const sync = handle.sync.bind(handle);
  handle.sync = async () => {
    arrive("sync", String(path), true);
    return sync();
  };
  return handle;
};
for (const [name, needsRoom] of [
  ["rename", false],
  ["rm", false],
  ["mkdir", true],
  ["mkdtemp", true],
  ["writeFile", true],
]) {
  const original = promises[name].bind(promises);
  promises[name] = async (path, ...rest) => {
    arrive(name, String(path), needsRoom);
    return original(path, ...rest);
  };
}

/** @type {Map<number, string>} */
const paths = new Map();
const openSync = fs.openSync.bind(fs);
fs.openSync = (path, flags, ...rest) => {
  if (!writes(flags)) return openSync(path, flags, ...rest);
  arrive("open", String(path), true);
  const descriptor = openSync(path, flags, ...rest);
  paths.set(descriptor, String(path));
  return descriptor;
};
fs.writeSync = (descriptor, data, ...rest) => {
  const path = paths.get(descriptor);
  if (path === undefined || arrive("write", path, true) === "all") return writeSync(descriptor, data, ...rest);
  writeSync(descriptor, half(data));
  return cut();
};
const fsyncSync = fs.fsyncSync.bind(fs);
fs.fsyncSync = (descriptor) => {
  const path = paths.get(descriptor);
  if (path !== undefined) arrive("sync", path, true);
  fsyncSync(descriptor);
};

// Streams use this one.
const openStream = fs.open.bind(fs);
fs.open = (path, flags, mode, done) => {
  if (!writes(flags)) return openStream(path, flags, mode, done);
  try {
    arrive("open", String(path), true);
  } catch (error) {
    return void process.nextTick(done, error);
  }
  return openStream(path, flags, mode, (error, descriptor) => {
    if (error === null) paths.set(descriptor, String(path));
    done(error, descriptor);
  });
};
for (const name of ["write", "writev"]) {
  const original = fs[name].bind(fs);
  fs[name] = (descriptor, data, ...rest) => {
    const path = paths.get(descriptor);
    if (path === undefined) return original(descriptor, data, ...rest);
    try {
      if (arrive("write", path, true) === "all") return original(descriptor, data, ...rest);
      writeSync(descriptor, half(name === "writev" ? Buffer.concat(data) : data));
      return cut();
    } catch (error) {
      return void process.nextTick(rest.at(-1), error);
    }
  };
}

const spawn = childProcess.spawn.bind(childProcess);
childProcess.spawn = (program, ...rest) => {
  const how = program === "flock" ? "all" : arrive("spawn", String(program), false);
  const child = spawn(program, ...rest);
  if (how === "half") globalThis.setTimeout(kill, 20);
  return child;
};

const changes =
  /^\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE|TRUNCATE|GRANT|REVOKE|COMMIT|ANALYZE|COMMENT|SELECT pg_terminate)/i;
/** The change that a message to PostgreSQL, to the router's control socket or to the client makes. Undefined: none. */
function changeIn(socket, data) {
  if (typeof data === "string") {
    if (socket === process.stdout) return data.startsWith('{"question"') ? undefined : "result";
    return /^(PUT|DELETE) \/\w+/.exec(data)?.[0];
  }
  const message = Buffer.from(data);
  const type = message.length > 5 ? String.fromCharCode(message[0] ?? 0) : "";
  if (type !== "Q" && type !== "P") return undefined;
  const text = message
    .subarray(5)
    .toString("utf8")
    .replace(/^[^\0]*\0(?=\s*[A-Z])/, "");
  return changes.test(text) ? text.split("\0")[0]?.replaceAll(/\s+/g, " ").trim().slice(0, 90) : undefined;
}
const socketWrite = net.Socket.prototype.write;
net.Socket.prototype.write = function write(data, ...rest) {
  const change = changeIn(this, data);
  if (change !== undefined) arrive("send", change, false);
  return socketWrite.call(this, data, ...rest);
};

// A test waits for seconds where people wait for minutes.
const silence = Number(process.env["STEP_SILENCE_MS"] ?? "0");
if (silence > 0) {
  const later = globalThis.setTimeout;
  globalThis.setTimeout = Object.assign(
    (then, ms, ...rest) => later(then, ms === 90_000 ? silence : ms, ...rest),
    later,
  );
}
