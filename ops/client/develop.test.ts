import { describe, expect, it } from "vitest";
import { DevelopmentLog } from "./develop.ts";
import { before, canaries, firstDeployment, runProgram } from "../../test/graph.ts";

const development: Record<string, unknown> = { ...firstDeployment, environment: "development", slots: {} };
const project = process.cwd();

describe("the development environment", () => {
  it("is one server and a database: no slots, router, snapshot, gate, switch, record", async () => {
    const graph = await runProgram(development);
    const names = graph.resources
      .filter(
        ({ type }) => !type.startsWith("togather:") && !type.startsWith("pulumi:") && !type.startsWith("postgresql:"),
      )
      .map(({ name }) => name);
    expect(names.sort()).toEqual(
      [
        "network-bridge",
        "ops-image-build",
        "dev-image-build",
        "postgres-image-build",
        "database-data",
        "database-container",
        "dev-migration-up",
        "dev-server-cache",
        "dev-server-container",
        "dev-server-wait",
      ].sort(),
    );
    expect(graph.outputs).toMatchObject({ url: "http://localhost", schemaVersion: 4 });
    expect(graph.outputs).not.toHaveProperty("serving");
  });

  it("migrates the working tree before it starts the server, and asks the server at the end", async () => {
    const graph = await runProgram(development);
    expect(graph.request("dev-migration-up")).toMatchObject({
      source: {
        kind: "tree",
        repository: ".",
        path: "migrations",
        digest: expect.stringMatching(/^tree-[0-9a-f]{64}$/) as string,
      },
    });
    expect(before(graph, "dev-server-container")).toContain("dev-migration-up");
    expect(before(graph, "dev-server-wait")).toContain("dev-server-container");
    expect(graph.request("dev-server-wait")).toMatchObject({
      containerName: "togather-unit-dev",
      port: 8080,
      healthPath: "/health",
      schemaVersion: 4,
    });
    const without = await runProgram({ ...development, skipMigrations: true });
    expect(without.resources.map(({ name }) => name)).not.toContain("dev-migration-up");
  });

  it("mounts the source read-only, listens on the loopback and logs all", async () => {
    const { inputs } = (await runProgram(development)).get("dev-server-container");
    expect(inputs).toMatchObject({
      name: "togather-unit-dev",
      workingDir: "/source/server",
      command: ["--build.cmd", "go build -o /tmp/air/server .", "--"],
      ports: [{ internal: 8080, external: 80, ip: "127.0.0.1" }],
    });
    expect(inputs["volumes"]).toEqual([
      { hostPath: `${project}/server`, containerPath: "/source/server", readOnly: true },
      { hostPath: `${project}/migrations`, containerPath: "/source/migrations", readOnly: true },
      { hostPath: `${project}/migrations`, containerPath: "/migrations", readOnly: true },
      { volumeName: "togather-unit-dev-cache", containerPath: "/cache" },
    ]);
    expect(inputs["envs"]).toEqual(
      expect.arrayContaining([
        "ENVIRONMENT=development",
        "LOG_LEVEL=DEBUG",
        "PORT=8080",
        `JWT_SECRET=${canaries.jwtSecret}`,
      ]),
    );
    const open = (await runProgram({ ...development, listenAddress: "0.0.0.0" })).get("dev-server-container");
    expect(open.inputs).toMatchObject({ ports: [{ ip: "0.0.0.0" }] });
  });

  it("builds another server where its module is, with its arguments", async () => {
    const source = {
      paths: ["server", "package.json"],
      module: ".",
      package: "./cmd/it's one",
      arguments: ["serve", "--all of it"],
    };
    const { inputs } = (await runProgram({ ...development, source })).get("dev-server-container");
    expect(inputs).toMatchObject({
      workingDir: "/source",
      command: ["--build.cmd", "go build -o /tmp/air/server './cmd/it'\\''s one'", "--", "serve", "'--all of it'"],
    });
    // A file among the paths: an editor's new file would not be seen through a mount of the old one.
    expect((inputs["volumes"] as unknown[])[0]).toEqual({
      hostPath: project,
      containerPath: "/source",
      readOnly: true,
    });
  });

  it("refuses what it has no use for, before anything changes", async () => {
    const wrong = {
      ...development,
      slots: firstDeployment["slots"],
      host: "ssh://deploy@example.org",
      source: { module: "nowhere" },
    };
    const refused = runProgram(wrong);
    await expect(refused).rejects.toThrow(
      /togather:slots: blue holds a release, but development has no slots[\s\S]*fix: pulumi config rm --stack \S+ togather:slots/,
    );
    await expect(refused).rejects.toThrow(
      /togather:host: ssh:\/\/deploy@example\.org is another machine, where the working tree/,
    );
    await expect(refused).rejects.toThrow(/togather:source\.module: nowhere is not in this project/);
  });
});

describe("the log of a development container", () => {
  const log = (): { said: DevelopmentLog; later: (ms: number) => void } => {
    let now = 0;
    return {
      said: new DevelopmentLog(() => now),
      later: (ms) => {
        now += ms;
      },
    };
  };

  it("tells of a source that doesn't compile, unless the next build mends it", () => {
    const { said, later } = log();
    [
      "building...",
      "# togather",
      "./main.go:3:1: syntax error",
      "failed to build, error: exit status 1",
      "running...",
      "Process Exit with Code: 127",
    ].forEach((line) => {
      said.add(line);
    });
    expect(said.problem()).toBeUndefined();
    later(2_000);
    expect(said.problem()).toBe("the source doesn't compile");
    said.add("main.go has changed");
    later(2_000);
    expect(said.problem()).toBeUndefined();
  });

  it("tells of a server that ends", () => {
    const { said, later } = log();
    ["building...", "running...", "Process Exit with Code: 2"].forEach((line) => {
      said.add(line);
    });
    later(2_000);
    expect(said.problem()).toBe("the server ended with exit code 2");
  });
});
