import * as z from "zod";
import { releaseSchema } from "../slots.ts";
import { clientStep } from "../step.ts";

const source = z.discriminatedUnion("kind", [
  z.strictObject({
    /** The files of one commit: `git archive COMMIT PATHS | docker build -`. */
    kind: z.literal("commit"),
    /** Directory of the git repository, relative to the Pulumi project. */
    repository: z.string(),
    commit: z.string(),
    /** Paths of the commit that go into the build context; ["."] for all. */
    paths: z.array(z.string()).min(1),
  }),
  z.strictObject({
    /** A source tree without git. `digest` is its content hash, so that a change builds again. */
    kind: z.literal("tree"),
    repository: z.string(),
    paths: z.array(z.string()).min(1),
    digest: z.string(),
  }),
  z.strictObject({
    /** One of this project's own images, from images/<name>. */
    kind: z.literal("bundled"),
    image: z.enum(["ops", "postgres", "nginx", "dev"]),
    digest: z.string(),
  }),
]);

export const imageSteps = {
  /**
   * Makes an image from a git commit, a source tree or a directory of this project. Skips the build when the engine
   * already has an image with this tag and the same `org.togather.source` label.
   */
  build: clientStep({
    request: {
      source,
      /** Path of the Dockerfile in the context. */
      dockerfile: z.string(),
      tag: z.string(),
      /** The source's own build arguments. `{version}`, `{commit}` and `{created}` stand for the release's. */
      arguments: z.record(z.string(), z.string()).optional(),
      /** The release that the image holds: build arguments VERSION, COMMIT, CREATED and the OCI labels. */
      release: releaseSchema.optional(),
    },
    result: z.strictObject({
      tag: z.string(),
      /** `sha256:…` of the image's configuration: containers are created from it. */
      imageId: z.string(),
      built: z.boolean(),
      durationMs: z.number(),
    }),
    ending: "build",
    resource: { components: ["BundledImage", "ServerImage"], part: "build", outputs: { imageId: "imageId" } },
    says: ({ built }) => (built === undefined ? "" : built ? "built" : "is there already"),
  }),

  /** Removes images of earlier releases at the end of a deployment. */
  prune: clientStep({
    request: {
      /** Tags of the images in use: both slots', and this project's own. */
      keep: z.array(z.string()),
      /** Digests under which the slots' releases were pulled. Missing: none was pulled. */
      pulled: z.array(z.string()).optional(),
      /** Number of other images of each kind that stay; the oldest are removed first. */
      retention: z.number().int().min(0),
    },
    result: z.strictObject({ removed: z.array(z.string()) }),
    resource: { components: ["ImageRetention"], part: "prune", outputs: { removed: "removed" } },
    says: ({ removed = [] }) =>
      removed.length === 0 ? "nothing to remove" : `removed ${removed.length} images of earlier releases`,
  }),
};
