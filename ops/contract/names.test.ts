import { expect, it } from "vitest";
import {
  containerName,
  imageRepository,
  isContainerHost,
  labels,
  networkName,
  oneOffName,
  slotNamed,
  volumeName,
} from "./names.ts";

it("are those that deployments have", () => {
  expect((["blue", "green", "database", "router", "dev"] as const).map((part) => containerName("a-b", part))).toEqual([
    "togather-a-b-blue",
    "togather-a-b-green",
    "togather-a-b-db",
    "togather-a-b-router",
    "togather-a-b-dev",
  ]);
  expect((["database", "router", "dev"] as const).map((part) => volumeName("staging", part))).toEqual([
    "togather-staging-db-data",
    "togather-staging-router-files",
    "togather-staging-dev-cache",
  ]);
  expect(networkName("staging")).toBe("togather-staging");
  expect(oneOffName("staging", "rehearsal")).toBe("togather-staging-rehearsal");
  expect(oneOffName("staging", "gate", "0a1b")).toBe("togather-staging-gate-0a1b");
  expect(imageRepository("server")).toBe("togather-server");
  expect(Object.values(labels)).toEqual([
    "org.togather.name",
    "org.togather.part",
    "org.togather.version",
    "org.togather.commit",
    "org.togather.port",
    "org.togather.source",
    "org.togather.lock",
    "org.togather.lock.holder",
  ]);
});

it("are read back", () => {
  expect(slotNamed("/togather-green-blue-blue")).toBe("blue");
  expect(slotNamed("togather-x-green")).toBe("green");
  for (const other of ["/togather-x-router", "/other-x-blue", "/togather-x-blue-1"])
    expect(slotNamed(other)).toBeUndefined();
  expect(isContainerHost("togather-x-db")).toBe(true);
  expect(isContainerHost("db.togather-x.org")).toBe(false);
});
