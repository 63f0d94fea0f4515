import { resolve } from "node:path";
import type { PlainSettings } from "../stack-file.ts";
import { gitEnvironment, neutralGit } from "../../ops/client/git.ts";
import { run } from "../../toolchain/run.ts";

/** The path of the environment file's template in the server's repository. */
export const templatePath = (environment: string): string => `deploy/config/environments/.env.${environment}.example`;

/**
 * The environment's template and variables in the checked-out commit of the server's repository. Undefined: it has
 * none.
 */
export async function serverEnvironment(
  { source, environment }: Pick<PlainSettings, "source" | "environment">,
  project: string,
): Promise<{ template: string | undefined; read: ReadonlySet<string> | undefined }> {
  const git = (...args: string[]) =>
    run("git", [...neutralGit, "-C", resolve(project, source.repository), ...args], {
      env: gitEnvironment(process.env),
    });
  const [template, literals] = await Promise.all([
    git("cat-file", "blob", `HEAD:./${templatePath(environment)}`),
    git(
      "grep",
      "--no-color",
      "--no-line-number",
      "--no-column",
      "-hoE",
      '["`][A-Z][A-Z0-9_]+["`]',
      "HEAD",
      "--",
      "*.go",
      ":(exclude)*_test.go",
    ),
  ]);
  return {
    template: template.ok ? template.stdout : undefined,
    read: literals.ok ? new Set(literals.stdout.split("\n").map((literal) => literal.slice(1, -1))) : undefined,
  };
}
