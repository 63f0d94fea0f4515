import type { ChildProcess, SpawnOptions } from "node:child_process";

export function passSignals(child: ChildProcess): void;
export function foreground(command: string, args: readonly string[], options?: SpawnOptions): Promise<number>;
