import { imageRepository } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import * as pulumi from "@pulumi/pulumi";
import type { StackSettings } from "../config/schema/stack-settings.ts";
import { bundledImageDigest, bundledImageTag, type BundledImage as BundledImageName } from "../ops/image.ts";
import type { HostContext } from "./host.ts";
import { declareStep } from "./step.ts";

export interface BundledImageArgs {
  /** One of the images of this project: images/<image>. */
  image: BundledImageName;
  context: HostContext;
}

/** An image of this project, built again when its files change. */
export class BundledImage extends pulumi.ComponentResource {
  /** The image id from which containers are created. */
  readonly imageId: pulumi.Output<string>;
  readonly tag: string;

  constructor(name: string, args: BundledImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:BundledImage", name, {}, opts);
    const digest = bundledImageDigest(args.image);
    this.tag = bundledImageTag(args.image, digest);
    const build = declareStep(
      name,
      "build",
      {
        context: args.context,
        request: {
          source: { kind: "bundled", image: args.image, digest },
          dockerfile: "Dockerfile",
          tag: this.tag,
        },
      },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.imageId = build.result.apply(({ imageId }) => imageId);
    this.registerOutputs({ imageId: this.imageId });
  }
}

/** The tag of an image that is built from a release's source. */
export function serverImageTag(release: SlotRelease): string {
  return `${imageRepository("server")}:${plainRelease(release).commit}`;
}

export interface ServerImageArgs {
  release: SlotRelease;
  source: StackSettings["source"];
  context: HostContext;
  /** A text for a missing container of the slot: the image may be missing as well. Undefined: the container exists. */
  found: string | undefined;
}

/**
 * The image of a release: built from its git commit (never from the working tree's files, since two slots have two
 * commits), or pulled by digest.
 */
export class ServerImage extends pulumi.ComponentResource {
  readonly imageId: pulumi.Output<string>;

  constructor(name: string, args: ServerImageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:ServerImage", name, {}, opts);
    const { release, source } = args;
    if (release.source.kind === "image") {
      const pulled = new docker.RemoteImage(
        `${name}-pull`,
        { name: release.source.reference, keepLocally: true },
        { parent: this, dependsOn: opts?.dependsOn },
      );
      this.imageId = pulled.imageId;
    } else {
      const { repository, paths } = source;
      const { commit } = plainRelease(release);
      const build = declareStep(
        name,
        "build",
        {
          context: args.context,
          request: {
            source:
              release.source.kind === "tree"
                ? { kind: "tree", repository, paths, digest: commit }
                : { kind: "commit", repository, commit, paths },
            dockerfile: source.dockerfile,
            ...(Object.keys(source.buildArguments).length === 0 ? {} : { arguments: source.buildArguments }),
            tag: serverImageTag(release),
            release: plainRelease(release),
          },
          found: args.found,
        },
        { parent: this, dependsOn: opts?.dependsOn },
      );
      this.imageId = build.result.apply(({ imageId }) => imageId);
    }
    this.registerOutputs({ imageId: this.imageId });
  }
}
