/**
 * Lets a run continue when its output can't be written: the reader has gone (`| head`, a closed terminal), or the disk
 * of a file is full. The output is dropped; the deployment's log on the host has it. Otherwise the error would end the
 * process in the middle of a release.
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
