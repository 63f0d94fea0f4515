import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Machine } from "./machine.ts";
import type { Installation } from "./installation.ts";
import { knownPulumi, supplyPulumi } from "./pulumi.ts";
import { hasBackend, pulumiEnvironment } from "./pulumi-environment.ts";
import { missingPlugins, usePulumiOnPath } from "./pulumi-official.ts";
import type { Versions } from "./versions.ts";
import { fakeMachine, recorder, temporaryDirectory } from "../test/fake-machine.ts";

const VERSIONS: Versions = { pulumi: "3.270.0", plugins: { docker: "5.2.0", command: "1.2.1", postgresql: "3.18.1" } };

/** A `pulumi` that writes down how it is called, and installs plugins by making their files. */
const PULUMI = (
  version: string,
  install = 'd="$HOME/.pulumi/plugins/resource-$4-v$5"; /bin/mkdir -p "$d"; : > "$d/pulumi-resource-$4"',
) => `
echo "$*" >> "$HOME/calls"
case "$1" in version) echo ${version};; plugin) ${install};; esac`;

const calls = (machine: Machine) =>
  readFileSync(join(machine.env.HOME ?? "", "calls"), "utf8")
    .trim()
    .split("\n");

function makeProject(): string {
  const project = temporaryDirectory();
  for (const [name, version] of [["pulumi", VERSIONS.pulumi], ...Object.entries(VERSIONS.plugins)] as [
    string,
    string,
  ][]) {
    const directory = join(project, "node_modules", "@pulumi", name);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "package.json"), JSON.stringify({ version }));
  }
  return project;
}

describe("an official Pulumi on PATH", () => {
  it("is used as it is, with its plugins made sure of", async () => {
    const machine = fakeMachine({ pulumi: PULUMI("v3.251.0") });
    const installation = await usePulumiOnPath(machine, VERSIONS, recorder().report);
    expect(installation).toMatchObject({
      kind: "official",
      version: "3.251.0",
      command: join(machine.env.PATH ?? "", "pulumi"),
    });
    expect(installation?.home).toBeUndefined();
    expect(calls(machine)).toEqual([
      "version",
      "plugin install resource docker 5.2.0 --non-interactive",
      "plugin install resource command 1.2.1 --non-interactive",
      "plugin install resource postgresql 3.18.1 --non-interactive",
    ]);
  });

  it("is asked for no plugin that is there", async () => {
    const machine = fakeMachine({ pulumi: PULUMI("v3.251.0") });
    await usePulumiOnPath(machine, VERSIONS, recorder().report);
    await usePulumiOnPath(machine, VERSIONS, recorder().report);
    expect(calls(machine)).toHaveLength(5);
  });

  it("is left alone when it is too old, or its plugins can't be had", async () => {
    const { report, lines } = recorder();
    expect(await usePulumiOnPath(fakeMachine({ pulumi: PULUMI("v3.100.0") }), VERSIONS, report)).toBeUndefined();
    expect(lines.join()).toMatch(/is 3\.100\.0, and the SDK needs/);
    expect(
      await usePulumiOnPath(
        fakeMachine({ pulumi: PULUMI("v3.251.0", "echo no network >&2; exit 1") }),
        VERSIONS,
        report,
      ),
    ).toBeUndefined();
    expect(lines.join()).toMatch(/docker plugin can't be downloaded: no network/);
  });

  it("counts a half downloaded plugin as missing", async () => {
    const machine = fakeMachine({ pulumi: PULUMI("v3.251.0") });
    await usePulumiOnPath(machine, VERSIONS, recorder().report);
    const home = join(machine.env.HOME ?? "", ".pulumi");
    expect(missingPlugins(home, VERSIONS)).toEqual([]);
    writeFileSync(join(home, "plugins", "resource-command-v1.2.1.partial"), "");
    expect(missingPlugins(home, VERSIONS)).toEqual([["command", "1.2.1"]]);
  });
});

describe("the choice of a Pulumi", () => {
  const built = (machine: Machine): Installation => ({
    kind: "downloaded",
    command: join(machine.env.PATH ?? "", "other"),
    version: "3.270.0",
  });

  it("takes the first way that works", async () => {
    const machine = fakeMachine({ other: "" });
    const nothing = () => Promise.resolve(undefined);
    const found = await supplyPulumi(machine, makeProject(), recorder().report, [
      usePulumiOnPath,
      nothing,
      (m) => Promise.resolve(built(m)),
    ]);
    expect(found).toEqual(built(machine));
  });

  it("is remembered, without running Pulumi again, until something changes", async () => {
    const machine = fakeMachine({ pulumi: PULUMI("v3.251.0") });
    const project = makeProject();
    expect(await knownPulumi(machine, project)).toBeUndefined();
    const found = await supplyPulumi(machine, project, recorder().report);
    const before = calls(machine).length;
    expect(await knownPulumi(machine, project)).toEqual(found);
    expect(calls(machine)).toHaveLength(before);

    writeFileSync(found.command, `#!/bin/sh\n${PULUMI("v3.260.0")}`);
    expect(await knownPulumi(machine, project)).toBeUndefined();
    await supplyPulumi(machine, project, recorder().report);
    writeFileSync(join(project, "node_modules", "@pulumi", "docker", "package.json"), '{"version":"5.3.0"}');
    expect(await knownPulumi(machine, project)).toBeUndefined();
  });
});

describe("the environment of Pulumi", () => {
  const official = (machine: Machine): Installation => ({
    kind: "official",
    command: join(machine.env.PATH ?? "", "pulumi"),
    version: "3.251.0",
  });

  it("keeps state and passphrase in the project, whatever its path", () => {
    const machine = fakeMachine({});
    const project = temporaryDirectory();
    const env = pulumiEnvironment(machine, project, official(machine));
    expect(env.PULUMI_BACKEND_URL).toMatch(/^file:\/\/\/.*\/100%25%20a%20b\/\.togather\/state$/);
    expect(statSync(join(project, ".togather", "state")).isDirectory()).toBe(true);
    const file = env.PULUMI_CONFIG_PASSPHRASE_FILE ?? "";
    expect(dirname(file)).toBe(join(project, ".togather"));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const passphrase = readFileSync(file, "utf8");
    expect(passphrase).toMatch(/^[\w-]{43}$/);
    pulumiEnvironment(machine, project, official(machine));
    expect(readFileSync(file, "utf8")).toBe(passphrase);
    expect(env.PULUMI_HOME).toBeUndefined();
  });

  it("leaves a backend alone that the user chose by environment, login or Pulumi.yaml", () => {
    const project = temporaryDirectory();
    expect(hasBackend({ HOME: project }, project)).toBe(false);
    expect(hasBackend({ HOME: project, PULUMI_BACKEND_URL: "s3://states" }, project)).toBe(true);
    writeFileSync(join(project, "Pulumi.yaml"), "name: x\nbackend:\n  url: gs://states\n");
    expect(hasBackend({ HOME: project }, project)).toBe(true);

    const machine = fakeMachine({});
    mkdirSync(join(machine.env.HOME ?? "", ".pulumi"));
    writeFileSync(join(machine.env.HOME ?? "", ".pulumi", "credentials.json"), '{"current":"https://api.pulumi.com"}');
    const env = pulumiEnvironment(machine, temporaryDirectory(), official(machine));
    expect(env.PULUMI_BACKEND_URL).toBeUndefined();
  });

  it("leaves a passphrase alone that the user set, empty or not", () => {
    const machine = fakeMachine({}, { env: { PULUMI_CONFIG_PASSPHRASE: "" } });
    expect(
      pulumiEnvironment(machine, temporaryDirectory(), official(machine)).PULUMI_CONFIG_PASSPHRASE_FILE,
    ).toBeUndefined();
  });

  it("gives a build a PULUMI_HOME of its own, but the user's login, and keeps it from downloading", () => {
    const machine = fakeMachine({});
    const installation: Installation = {
      kind: "built",
      command: "/cache/pulumi/1/bin/pulumi",
      version: "3.259.0",
      home: "/cache/pulumi/1",
    };
    const env = pulumiEnvironment(machine, temporaryDirectory(), installation);
    expect(env).toMatchObject({
      PULUMI_HOME: "/cache/pulumi/1",
      PULUMI_CREDENTIALS_PATH: join(machine.env.HOME ?? "", ".pulumi"),
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    });
    expect(env.PATH).toMatch(/node_modules\/\.bin:\/cache\/pulumi\/1\/bin:/);
  });

  it("tells the docker provider which engine the context means", () => {
    // Neither is asked for it: its own files tell, at once.
    const machine = fakeMachine({});
    const chosen = (env: NodeJS.ProcessEnv) =>
      pulumiEnvironment({ ...machine, env: { ...machine.env, ...env } }, temporaryDirectory(), official(machine));
    const context = createHash("sha256").update("desktop").digest("hex");
    const meta = join(machine.env.HOME ?? "", ".docker/contexts/meta", context);
    mkdirSync(meta, { recursive: true });
    const host = "unix:///home/me/.docker/run/docker.sock";
    writeFileSync(join(meta, "meta.json"), JSON.stringify({ Name: "desktop", Endpoints: { docker: { Host: host } } }));
    expect(chosen({}).DOCKER_HOST).toBeUndefined();
    expect(chosen({ DOCKER_CONTEXT: "desktop" }).DOCKER_HOST).toBe(host);
    writeFileSync(join(meta, "../../../config.json"), JSON.stringify({ currentContext: "desktop" }));
    expect(chosen({}).DOCKER_HOST).toBe(host);
  });
});
