import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Versions {
  /** Of the SDK, and of the CLI that is downloaded for it. */
  pulumi: string;
  plugins: { docker: string; command: string; postgresql: string };
}

/** The versions of the installed npm packages: package.json is the one place that says them. */
export function installedVersions(project: string): Versions {
  const version = (name: string) => {
    const file = join(project, "node_modules", "@pulumi", name, "package.json");
    return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
  };
  return {
    pulumi: version("pulumi"),
    plugins: { docker: version("docker"), command: version("command"), postgresql: version("postgresql") },
  };
}

/** The versions that built plugins must have, as build.sh and the Dockerfile take them. */
export function versionVariables({ plugins }: Versions): Record<string, string> {
  return { DOCKER_VERSION: plugins.docker, COMMAND_VERSION: plugins.command, POSTGRESQL_VERSION: plugins.postgresql };
}
