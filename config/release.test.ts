import { describe, expect, it } from "vitest";
import { asDeployed, plainRelease, plainSetting, releaseOfSetting, settingOfRelease } from "./release.ts";
import type { ReleaseSetting } from "./schema/stack-settings.ts";

const hash = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";
const digest = "0f".repeat(32);
const settings: ReleaseSetting[] = [
  { version: "v1", commit: "1234567" },
  { version: "v1", commit: hash },
  { version: "0.0.0-tree.1", commit: `tree-${digest.slice(0, 40)}` },
  { version: "v2", image: `registry.example:5000/a/server:v2@sha256:${digest}` },
];

describe("a release of a setting", () => {
  it.each(settings)("$version $commit$image is stored as it always was", (setting) => {
    expect(plainSetting(setting)).toEqual({
      version: setting.version,
      commit: "commit" in setting ? setting.commit : `sha256:${digest}`,
    });
  });
  it("has its kind", () => {
    expect(settings.map((setting) => releaseOfSetting(setting).source)).toEqual([
      { kind: "commit", id: "1234567" },
      { kind: "commit", id: hash },
      { kind: "tree", id: digest.slice(0, 40) },
      { kind: "image", id: digest, reference: `registry.example:5000/a/server:v2@sha256:${digest}` },
    ]);
  });
  it("is a setting again, unless it is an image, whose name is not stored", () => {
    expect(settings.map((setting) => settingOfRelease(plainSetting(setting)))).toEqual([
      ...settings.slice(0, 3),
      undefined,
    ]);
  });
});

describe("asDeployed", () => {
  const full = releaseOfSetting({ version: "v1", commit: hash });
  const short = { version: "v1", commit: hash.slice(0, 9) };
  it("keeps the spelling of what is deployed, whichever way it changes", () => {
    expect(asDeployed({ blue: full }, { blue: short })).toEqual({ blue: releaseOfSetting(short) });
    expect(asDeployed({ blue: releaseOfSetting(short) }, { blue: plainRelease(full) })).toEqual({ blue: full });
  });
  it("takes the surest, and goes on to the next where that is another release", () => {
    const other = { version: "v0", commit: "7654321" };
    expect(asDeployed({ green: full }, { green: other }, { green: short })).toEqual({ green: releaseOfSetting(short) });
    expect(asDeployed({ green: full }, undefined, { blue: short })).toEqual({ green: full });
  });
  it("leaves another release as it is: another version, commit or kind", () => {
    for (const setting of [
      { ...short, version: "v2" },
      { version: "v1", commit: "1a2b3c5" },
    ])
      expect(asDeployed({ blue: full }, { blue: setting })).toEqual({ blue: full });
    const tree = releaseOfSetting({ version: "v1", commit: `tree-${hash}` });
    expect(asDeployed({ blue: tree }, { blue: short })).toEqual({ blue: tree });
  });
  it("keeps the name from which an image is pulled", () => {
    const [image] = settings.slice(3).map(releaseOfSetting);
    if (image === undefined) throw new Error("no image");
    expect(asDeployed({ blue: image }, { blue: plainRelease(image) })).toEqual({ blue: image });
  });
});
