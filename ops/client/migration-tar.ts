/** The migrations' tar: read without unpacking it, and with a file put in front. */
import { basename, dirname, normalize } from "node:path/posix";
import { Header, Parser } from "tar";
import type { StepRequest } from "../contract/steps.ts";

/** Names and texts of the files in the directory of migrations. */
export async function textsIn(tar: Buffer, source: StepRequest<"migrate">["source"]): Promise<Map<string, string>> {
  // `docker cp` packs the directory under its own name, git under its path.
  const directory = normalize(source.kind === "image" ? basename(source.path) : source.path).replace(/\/$/, "");
  const texts = new Map<string, string>();
  await new Promise<void>((resolve, reject) => {
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry) => {
        const path = normalize(entry.path);
        if (entry.type !== "File" || dirname(path) !== directory) {
          entry.resume();
          return;
        }
        const chunks: Buffer[] = [];
        entry.on("data", (chunk) => chunks.push(Buffer.from(chunk)));
        entry.on("end", () => texts.set(basename(path), Buffer.concat(chunks).toString("utf8")));
      },
    });
    parser.on("end", () => {
      resolve();
    });
    parser.on("error", reject);
    parser.end(tar);
  });
  return texts;
}

const blockBytes = 512;

/** The same tar with one more file before all others. */
export function withFile(tar: Buffer, name: string, text: string): Buffer {
  const content = Buffer.from(text);
  const header = new Header({ path: name, mode: 0o644, size: content.length, type: "File", mtime: new Date(0) });
  header.encode();
  if (header.block === undefined) throw new Error(`no tar header for ${name}`);
  return Buffer.concat([
    header.block,
    content,
    Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes),
    tar,
  ]);
}
