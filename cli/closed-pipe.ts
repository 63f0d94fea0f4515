/**
 * Lets a run go on when whoever read its output has gone (`| head`, a terminal that was closed): what was to be shown is
 * dropped, and the deployment's log on the host has it. Without this the EPIPE ends the process, in the middle of a release.
 */
export function outliveReaders(streams: readonly NodeJS.WriteStream[] = [process.stdout, process.stderr]): void {
  for (const stream of streams) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
    });
  }
}
