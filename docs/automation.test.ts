import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { togather } from "../cli/program.ts";
import { bundledSecrets, secretNames } from "../config/secrets/table.ts";

const project = join(import.meta.dirname, "..");
const page = readFileSync(join(project, "docs/automation.md"), "utf8");
const text = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? "";

interface Workflow {
  concurrency: { group: string; "cancel-in-progress": string };
  jobs: Record<string, { env: Record<string, string>; steps: { run?: string; if?: string }[] }>;
}

describe("the workflow in docs/automation.md", () => {
  const workflow = parse(text) as Workflow;
  const commands = Object.values(workflow.jobs).flatMap(({ steps }) =>
    steps.flatMap(({ run }) => run?.split("\n") ?? []),
  );
  const ours = commands.filter((line) => line.startsWith("npm run "));

  it("is the one that stands in the project", () => {
    expect(readFileSync(join(project, ".github/workflows/production.yml"), "utf8")).toBe(text);
  });

  it("calls commands that there are, with options that they have", async () => {
    expect(ours).toHaveLength(2);
    const { scripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    for (const line of ours) {
      const [, script, rest] = /^npm run (\S+) -- (.*)$/.exec(line) ?? [];
      expect(Object.keys(scripts)).toContain(script);
      const program = togather(() => undefined);
      const called: string[] = [];
      for (const command of program.commands)
        command.action(() => {
          called.push(command.name());
        });
      await program.parseAsync((rest ?? "").split(" "), { from: "user" });
      expect(called).toEqual(["up"]);
    }
  });

  it("hands on every secret that a stack with the bundled database needs, and only from the secrets of the repository", () => {
    const { env } = workflow.jobs["deploy"] ?? { env: {} };
    expect(Object.keys(env)).toEqual(expect.arrayContaining(bundledSecrets.map((key) => secretNames[key])));
    // Without a certificate production is refused.
    expect(Object.keys(env)).toEqual(expect.arrayContaining(["TLS_CERTIFICATE", "TLS_KEY"]));
    for (const value of Object.values(env)) expect(value).toMatch(/^\$\{\{ secrets\.[A-Z_]+ \}\}$/);
  });

  it("lets no pull request's run take the place of a deployment that waits", () => {
    // GitHub keeps one waiting run in a group.
    expect(workflow.concurrency.group).toBe("${{ github.event_name == 'push' && 'production' || github.ref }}");
    expect(workflow.concurrency["cancel-in-progress"]).toBe("${{ github.event_name != 'push' }}");
  });

  it("only looks on a pull request", () => {
    const steps = Object.values(workflow.jobs)
      .flatMap((job) => job.steps)
      .filter(({ run }) => run?.includes("togather") === true);
    for (const { run, if: when } of steps)
      expect(run?.includes("--dry-run")).toBe(when === "github.event_name == 'pull_request'");
  });
});
