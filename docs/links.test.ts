import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const project = join(import.meta.dirname, "..");
const documents = globSync(["*.md", "docs/*.md", "server/*.md", ".github/**/*.md"], { cwd: project }).sort();
const read = (file: string): string => readFileSync(join(project, file), "utf8");
const withoutCode = (markdown: string): string => markdown.replace(/^ *```[\s\S]*?^ *```$/gm, "");

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(markdown: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutCode(markdown).matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = ""]) => {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-");
    const before = seen.get(slug) ?? 0;
    seen.set(slug, before + 1);
    return before === 0 ? slug : `${slug}-${before}`;
  });
}

/** Broken links of a document: missing files, and headings that no document has. */
function broken(file: string, markdown: string): string[] {
  const targets = [...withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => {
      const [path = "", anchor] = target.split("#");
      const to = path === "" ? file : relative(project, join(project, dirname(file), path));
      if (globSync(to, { cwd: project }).length === 0) return true;
      return anchor !== undefined && !anchors(to === file ? markdown : read(to)).includes(anchor);
    });
}

describe("links between documents", () => {
  it.each(documents)("of %s lead to files and headings that there are", (file) => {
    expect(broken(file, read(file))).toEqual([]);
  });

  it("are found where they lead nowhere", () => {
    const text =
      "# A b\n[1](#a-b) [2](#nothing) [3](docs/nothing.md) [4](docs/cli.md#nothing) [5](docs/cli.md#options)";
    expect(broken("README.md", text)).toEqual(["#nothing", "docs/nothing.md", "docs/cli.md#nothing"]);
  });

  it("lead from docs/README.md to every document", () => {
    const index = read("docs/README.md");
    for (const file of documents.filter((name) => /^docs\/(?!README)/.test(name)))
      expect(index).toContain(`](${relative("docs", file)})`);
  });
});

describe("docs/troubleshooting.md", () => {
  const sources = globSync(["{cli,components,config,ops,stack,toolchain}/**/*.{ts,mjs}"], { cwd: project })
    .filter((file) => !file.endsWith(".test.ts"))
    .map(read);
  const symptoms = [...read("docs/troubleshooting.md").matchAll(/^\*\*Symptom:\*\* `([^`]+)`(.*)$/gm)].map(
    ([, quote = "", rest = ""]) => ({ quote, ours: !rest.includes("words)") }),
  );
  /** A quote's fixed parts, in order, with whatever the program fills in between them. */
  const inOneMessage = (quote: string): RegExp =>
    new RegExp(
      quote
        .split("…")
        .map((part) => part.trim())
        .filter((part) => /\w{2}/.test(part))
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
        .join("[^;]{1,200}?"),
    );

  it("quotes at least fifteen messages of our own", () => {
    expect(symptoms.filter(({ ours }) => ours).length).toBeGreaterThanOrEqual(15);
  });

  it.each(symptoms.filter(({ ours }) => ours))("quotes a message that the program has: $quote", ({ quote }) => {
    expect(sources.some((text) => inOneMessage(quote).test(text))).toBe(true);
  });

  it("would not pass a message that the program does not have", () => {
    expect(sources.some((text) => inOneMessage("the deployment … is bolted: another one").test(text))).toBe(false);
  });
});
