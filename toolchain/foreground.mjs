// Plain JavaScript, because bootstrap.mjs needs it before a Node that runs TypeScript is there.
import { spawn } from "node:child_process";
import { constants } from "node:os";

/**
 * Passes signals on to a child for as long as it runs, instead of dying of them before it. Ctrl-C reaches every
 * process of the terminal by itself; passing it on as well would be the second interrupt, at which Pulumi gives up
 * without cleaning up.
 */
export function passSignals(child) {
  const onTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  const passOn = (signal) => {
    if (signal !== "SIGINT" || !onTerminal) child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, passOn);
  const done = () => signals.forEach((signal) => process.off(signal, passOn));
  child.once("exit", done);
  child.once("error", done);
}

/** Runs a program as if it had been called instead of this one: same terminal, same signals; resolves with its exit code. */
export function foreground(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", ...options });
    passSignals(child);
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}
