import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { certificatePair } from "../test/certificate-pair.ts";
import { drawGraph } from "../test/drawn-graph.ts";
import { firstDeployment, releases, runProgram } from "../test/graph.ts";

const file = join(import.meta.dirname, "../docs/architecture.md");
const markers = /(<!-- npm run graph draws this -->\n)[\s\S]*?(\n<!-- until here -->)/;

it("stands in docs/architecture.md as the program makes it for a release of production", async () => {
  const directory = mkdtempSync(join(tmpdir(), "togather-graph-"));
  try {
    const { certificate, key } = await certificatePair();
    const tls = { certificateFile: join(directory, "c.pem"), keyFile: join(directory, "k.pem") };
    writeFileSync(tls.certificateFile, certificate);
    writeFileSync(tls.keyFile, key, { mode: 0o600 });
    const slots = { blue: releases.v1, green: releases.v2 };
    const graph = await runProgram({ ...firstDeployment, environment: "production", slots, activeSlot: "green", tls });
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(markers);
    const drawn = text.replace(markers, `$1\`\`\`mermaid\n${drawGraph(graph)}\n\`\`\`$2`);
    await expect(drawn, "npm run graph draws it anew").toMatchFileSnapshot(file);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
