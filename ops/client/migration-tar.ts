/** The migrations' tar: reads it without unpacking, and adds a file at its beginning. */
import { basename, dirname, normalize } from "node:path/posix";
import { Header, Parser } from "tar";
import type { StepRequest } from "../contract/steps.ts";

/** Names and texts of the files in the directory of migrations. */
export async function textsIn(tar: Buffer, source: StepRequest<"migrate">["source"]): Promise<Map<string, string>> {
  // `docker cp` packs the directory under its own name, git under its path.
  const directory = normalize(source.kind === "image" ? basename(source.path) : source.path).replace(/\/$/, "");
  const texts = new Map<string, string>();
  /**
   * Links to other files of the directory. A link to a file outside of it will be missing when the files are applied.
   */
  const links = new Map<string, string>();
  await new Promise<void>((resolve, reject) => {
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry) => {
        const path = normalize(entry.path);
        const to = normalize(entry.linkpath ?? "/");
        const beside = entry.type === "Link" ? dirname(to) === directory : dirname(to) === ".";
        if (/Link$/.test(entry.type) && dirname(path) === directory && beside) links.set(basename(path), basename(to));
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
  for (const name of links.keys()) {
    let to = name;
    // Of two names of one file, either may be the link; circular links end.
    for (let step = 0; step <= links.size && !texts.has(to); step++) to = links.get(to) ?? to;
    const text = texts.get(to);
    if (text !== undefined) texts.set(name, text);
  }
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
