// Plain JavaScript, because bootstrap.mjs needs it before a Node that runs TypeScript is there.
import { spawn } from "node:child_process";
import { constants } from "node:os";

/**
 * Runs a program as if it had been called instead of this one: same terminal, signals passed on, resolves with its
 * exit code. Ctrl-C reaches every process of the terminal by itself; passing it on as well would be the second
 * interrupt, at which Pulumi gives up without cleaning up.
 */
export function foreground(command, args, options = {}) {
  const onTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", ...options });
    const passOn = (signal) => {
      if (signal !== "SIGINT" || !onTerminal) child.kill(signal);
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, passOn);
    const done = () => signals.forEach((signal) => process.off(signal, passOn));
    child.on("error", (error) => {
      done();
      reject(error);
    });
    child.on("close", (code, signal) => {
      done();
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}
