/** A release that is in neither slot any more: whether it can be gone back to as it was. */
import { imageRepository } from "../../ops/contract/names.ts";
import { neededVersion } from "../../ops/client/pending-migrations.ts";
import { describeRelease, typedCommit } from "../../ops/contract/release.ts";
import { dockerProblem, tryDocker } from "../../ops/host/docker.ts";
import type { Release } from "../../ops/contract/steps.ts";
import type { DeployContext } from "../context.ts";
import { Failure } from "../failure.ts";
import type { Entry } from "../host/entries.ts";
import { invocation } from "../output.ts";
import { listSnapshots, schemaServed } from "../snapshots/catalog.ts";
import { schemaVersion } from "./schema-version.ts";

/** What is known of the schema. */
export interface SchemaFacts {
  /** Of the database now. */
  now: number | null | undefined;
  /** What the release's own migrations end with; null without any, undefined where nobody knows. */
  needs: number | null | undefined;
  /** With which it was seen to serve last; undefined where nobody has. */
  served: number | null | undefined;
}

/** Why a release can't serve with the schema as it is, as far as is known; undefined where it can. */
export function schemaProblem({ now, needs, served }: SchemaFacts): string | undefined {
  if (now === undefined) return "the database doesn't tell its schema version";
  if (needs === undefined)
    return "the migrations of that commit can't be listed, so that nobody knows which schema it needs";
  const [has, wants, had] = [now ?? 0, needs ?? 0, served ?? 0];
  if (has < wants)
    return `it needs schema version ${wants}, and the database is at ${now ?? "none"}: its migrations would run, which is a release`;
  return has <= Math.max(wants, had)
    ? undefined
    : `the database is at schema version ${has}, and it was last seen to serve with ${Math.max(wants, had)}: nobody knows whether it works with what later migrations have done`;
}

/** @throws {Failure} where its image is gone, or it may not work with the schema as it is. Nothing was changed then. */
export async function refuseUnlessKept(
  { settings, file, pulumi }: DeployContext,
  kept: Release & { id: string },
  history: readonly Entry[],
): Promise<void> {
  const { host, source } = settings;
  const what = `${describeRelease(kept)} of ${kept.id} is in neither slot any more`;
  const release = `release ${typedCommit(kept)} --version ${kept.version}`;
  const on = `--stack ${file.stack}`;
  const image = `${imageRepository("server")}:${kept.commit}`;
  const { ok, stderr } = await tryDocker(["image", "inspect", "--format={{.Id}}", image], { host });
  if (!ok) {
    if (!/no such image/i.test(stderr)) throw dockerProblem(stderr);
    throw new Failure(
      "config",
      `${what}, and its image was removed since (image retention). Nothing was changed.`,
      `${invocation(`${release} ${on}`)} builds it again`,
    );
  }
  const [now, needs, snapshots] = await Promise.all([
    schemaVersion(settings, () => Promise.resolve(pulumi)),
    neededVersion({ repository: source.repository, commit: kept.commit, path: source.migrations }),
    listSnapshots(settings),
  ]);
  const problem = schemaProblem({ now, needs, served: schemaServed(snapshots, kept, history) });
  if (problem !== undefined)
    throw new Failure(
      "config",
      `${what}, and ${problem}. Nothing was changed.`,
      `${invocation(`${release} --no-switch ${on}`)} puts it into the idle slot through its gate, to be looked at before traffic moves`,
    );
}
