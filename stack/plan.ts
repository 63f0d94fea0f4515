import * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/settings.ts";
import { planLine, releasedSlot } from "../config/plan.ts";
import { isSameRelease, otherSlot } from "../ops/contract/release.ts";
import { plainRelease, plainReleases } from "../config/release.ts";
import { askDatabase, NoDatabase } from "../ops/host/database.ts";
import { lateMigrations, misnamedMigrations, pendingMigrations } from "../ops/client/pending-migrations.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";
import type { Serving } from "../ops/host/serving-slot.ts";
import { listenAddresses } from "../config/schema/listen-addresses.ts";
import { routerConfiguration } from "./router-configuration.ts";
import { hasEngine } from "./host-lock.ts";
import { hostStart, type HostBefore } from "./serving.ts";
import { willStop } from "../ops/contract/migration-findings.ts";
import { warnOfMigrations } from "./migration-lint.ts";

/**
 * The migrations that a slot's release would run, and problems that stop them. Undefined: unknown, such as for an
 * image.
 */
async function migrationsOf(
  { name, host, slots, source, database, migrations }: Settings,
  slot: SlotName,
  serving: Serving | undefined,
): Promise<{ files: string[]; problems: string[] } | undefined> {
  const release = slots[slot];
  // Asking an external database needs a container, which takes longer than the whole preview: togather --dry-run does
  // that.
  if (release === undefined || release.source.kind === "image" || database.mode === "external") return undefined;
  const version = await askDatabase({ name, host, extensions: [] }).then(
    ({ schema }) => schema?.version ?? null,
    (error: unknown) => (error instanceof NoDatabase && !error.exists ? null : undefined),
  );
  if (version === undefined) return undefined;
  const of = ({ commit }: Release): Parameters<typeof pendingMigrations>[0] => ({
    repository: source.repository,
    commit,
    path: source.migrations,
  });
  const idle = serving?.held?.[otherSlot(serving.slot)];
  const held = serving === undefined ? [] : [serving.release, ...(idle === undefined ? [] : [idle])];
  const [files, ...problems] = await Promise.all([
    pendingMigrations(of(plainRelease(release)), version),
    misnamedMigrations(of(plainRelease(release)), migrations.allow),
    version === null || held.length === 0
      ? undefined
      : lateMigrations(of(plainRelease(release)), version, held.map(of), migrations.allow),
  ]);
  return files && { files, problems: problems.filter((problem) => problem !== undefined) };
}

/**
 * Prints in a preview what a deployment would do, and which migrations it would run: Pulumi's own list only has
 * resources. It runs beside everything else; the preview waits for it only at its end.
 */
export function sayPlan(settings: Settings, asked: Promise<Serving | undefined>, now: Promise<HostBefore>): void {
  if (!pulumi.runtime.isDryRun() || !hasEngine()) return;
  const { activeSlot, skipMigrations, force, rollout, standby } = settings;
  const wanted = plainReleases(settings.slots);
  void asked
    .then(async (serving) => {
      const before = hostStart(settings, await now);
      const held = before.slots;
      // Only a release that is not in its slot yet runs any.
      const released = releasedSlot(held, { activeSlot, slots: wanted });
      const runs = !skipMigrations && !isSameRelease(wanted[released], held[released]);
      const found = runs ? await migrationsOf(settings, released, serving) : undefined;
      const migrations = found?.files;
      const plan = planLine(before, { activeSlot, slots: wanted, skipMigrations, force, rollout, standby, migrations });
      await pulumi.log.info([plan, ...(migrations ?? []).map((file) => `  ${file}`)].join("\n"));
      for (const problem of found?.problems ?? []) await pulumi.log.warn(`migrations: ${problem}. ${willStop}.`);
      if (runs) await warnOfMigrations(settings, released, serving, migrations);
    })
    // A failed question is reported elsewhere.
    .catch(() => undefined);
  void warnOfInterruption(settings).catch(() => undefined);
}

/**
 * There is one router and one database: replacing their containers interrupts traffic, which Pulumi's own list doesn't
 * show.
 */
async function warnOfInterruption(settings: Settings): Promise<void> {
  const { name, host, listenAddress, ports, tls, database } = settings;
  const [{ routerReplacement, runningConfiguration }, { databaseReplacement }, { routerDigests }, { routerFiles }] =
    await Promise.all([
      import("../ops/host/router-container.ts"),
      import("../ops/host/database-container.ts"),
      import("../config/router-digest.ts"),
      import("../components/router.ts"),
    ]);
  const listens = [ports.http, ...(tls === undefined ? [] : [ports.https])].flatMap((port) =>
    listenAddresses(listenAddress).map((address) => `${address}:${port}`),
  );
  const [configuration, router, ofDatabase] = await Promise.all([
    runningConfiguration(name, host),
    routerReplacement({ name, host, listens }),
    database.mode === "external" ? [] : databaseReplacement({ name, host, maxConnections: database.maxConnections }),
  ]);
  if (router.length > 0)
    await pulumi.log.warn(
      `INTERRUPTS: the router's container is replaced (${router.join("; ")}). Requests fail until the new one answers, some seconds later.`,
    );
  const wanted = routerDigests(routerFiles(name, tls !== undefined, routerConfiguration(settings)), tls);
  if (router.length === 0 && configuration !== undefined && configuration.digest !== wanted.digest) {
    if (tls !== undefined && configuration.files === wanted.files)
      await pulumi.log.info("The router serves another certificate, to new connections and without a reload.");
    else
      await pulumi.log.warn(
        `RELOADS: the router's configuration changes, and nginx reads it anew. New requests are served all the while; downloads, uploads and WebSockets that are still open ${configuration.drain} later are cut, and a client that sends a request on an idle connection just then may have to send it again.`,
      );
  }
  if (ofDatabase.length > 0)
    await pulumi.log.warn(
      `INTERRUPTS: the database's container is replaced (${ofDatabase.join("; ")}). Requests that need it fail until it is back, some seconds later.`,
    );
}
