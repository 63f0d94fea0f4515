import { expect, it } from "vitest";
import { withUnreadPorts } from "./unread-ports.ts";

const container = (
  name: string,
  read: Record<string, unknown>,
  more: Record<string, unknown> = {},
): Record<string, unknown> => ({
  urn: `urn:pulumi:s::togather::docker:index/container:Container::${name}`,
  type: "docker:index/container:Container",
  id: name,
  inputs: { name, image: "sha256:x", ...read },
  outputs: { name, image: "sha256:x", ...read, ...more },
});
const unread = { mustRun: false, ports: [] };
const delta = { __pulumi_raw_state_delta: { obj: {} } };
const bindings = {
  "8443/tcp": [{ HostIp: "127.0.0.1", HostPort: "443" }],
  "8080/tcp": [
    { HostIp: "127.0.0.1", HostPort: "80" },
    { HostIp: "::1", HostPort: "80" },
  ],
};

it("gives a state the ports of containers that Pulumi has read while they did not run, and leaves the rest alone", async () => {
  const well = [
    container("router", { mustRun: true, ports: [{ internal: 1 }] }),
    container("blue", { mustRun: false, ports: [{}] }),
  ];
  const exported = (resources: unknown[]): string =>
    JSON.stringify({ version: 3, deployment: { manifest: {}, resources } });
  expect(await withUnreadPorts(exported(well), () => Promise.reject(new Error("not asked")))).toBeUndefined();
  const asked: string[] = [];
  const there = (name: string) => {
    asked.push(name);
    return Promise.resolve(name === "gone" ? undefined : bindings);
  };
  expect(await withUnreadPorts(exported([container("gone", unread)]), there)).toBeUndefined();
  const found = await withUnreadPorts(
    exported([...well, container("db", unread, delta), container("gone", unread, delta)]),
    there,
  );
  expect([asked, found?.containers]).toEqual([["gone", "db", "gone"], ["db"]]);
  const ports = [
    { internal: 8080, external: 80, ip: "127.0.0.1", protocol: "tcp" },
    { internal: 8080, external: 80, ip: "::1", protocol: "tcp" },
    { internal: 8443, external: 443, ip: "127.0.0.1", protocol: "tcp" },
  ];
  expect(JSON.parse(found?.state ?? "")).toEqual(
    JSON.parse(exported([...well, container("db", { mustRun: true, ports }), container("gone", unread, delta)])),
  );
});
