import { describe, expect, it } from "vitest";
import { stageImages, stageTag } from "./build-stages.ts";

const classic = `Sending build context to Docker daemon  12.8kB
Step 1/6 : FROM debian:trixie-slim AS build
 ---> aaaaaaaaaaaa
Step 2/6 : RUN go build
 ---> Running in 111111111111
Removing intermediate container 111111111111
 ---> bbbbbbbbbbbb
Step 3/6 : FROM node AS pages
 ---> cccccccccccc
Step 4/6 : COPY pages .
 ---> Using cache
 ---> dddddddddddd
Step 5/6 : FROM scratch
 --->${" "}
Step 6/6 : COPY --from=build /server /server
 ---> eeeeeeeeeeee
Successfully built eeeeeeeeeeee`;

describe("the classic builder's stages", () => {
  it("are the images in which all but the last one ended", () => {
    expect(stageImages(classic)).toEqual(["bbbbbbbbbbbb", "dddddddddddd"]);
  });

  it("are none in BuildKit's output, or in that of a Dockerfile with one stage", () => {
    expect(stageImages("#5 [build 2/4] RUN go build\n#5 DONE 3.1s\n#6 exporting layers")).toEqual([]);
    expect(stageImages("Step 1/2 : FROM scratch\n ---> \nStep 2/2 : COPY a /a\n ---> eeeeeeeeeeee")).toEqual([]);
  });

  it("have one tag for each place in a Dockerfile, whatever the path", () => {
    expect(stageTag("togather-server:abc", "server/Dockerfile", 0)).toBe(
      "togather-server-build:stage-1-server-Dockerfile",
    );
    expect(stageTag("localhost:5000/server:abc", `deep/${"x".repeat(300)}`, 1)).toMatch(
      /^localhost:5000\/server-build:[\w.-]{128}$/,
    );
  });
});
