/** Calls back for every complete line of a stream, and for the rest at its end. */
export function onLines(stream: NodeJS.ReadableStream, use: (line: string) => void): Promise<void> {
  let pending = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (pending + chunk).split("\n");
    pending = lines.pop() ?? "";
    lines.forEach(use);
  });
  return new Promise((resolve) => {
    const end = (): void => {
      if (pending !== "") use(pending);
      pending = "";
      resolve();
    };
    stream.once("end", end);
    stream.once("close", end);
  });
}
