// `node download-pulumi.ts VERSION DIRECTORY`: Pulumi's own installer, as its Automation API calls it. A program
// of its own, because the installer can be stopped only with its process.
import { PulumiCommand } from "@pulumi/pulumi/automation/index.js";
import semver from "semver";

const [version = "", root = ""] = process.argv.slice(2);
try {
  await fetch("https://get.pulumi.com/", { method: "HEAD", signal: AbortSignal.timeout(5000) });
  console.log(`Downloading Pulumi ${version}`);
  await PulumiCommand.install({ version: new semver.SemVer(version), root });
} catch (error) {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  console.error(cause instanceof Error ? (cause.message.split("\n")[0] ?? cause.name) : cause);
  process.exitCode = 1;
}
