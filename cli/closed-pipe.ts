/**
 * Lets a run go on when its output can't be written: whoever read it has gone (`| head`, a terminal that was closed), or the disk of a file is
 * full. What was to be shown is dropped, and the deployment's log on the host has it. Without this the error ends the process, in the middle
 * of a release.
 */
export function outliveReaders(streams: readonly NodeJS.WriteStream[] = [process.stdout, process.stderr]): void {
  const [first, ...others] = streams;
  let told = false;
  for (const stream of streams) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (told || stream !== first || error.code === "EPIPE" || error.code === "EIO") return;
      told = true;
      for (const other of others)
        other.write(`The output can't be written (${error.code ?? error.message}); what runs goes on without it.\n`);
    });
  }
}
