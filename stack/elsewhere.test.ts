import { describe, expect, it } from "vitest";
import { elsewhereProblem, isElsewhere } from "./elsewhere.ts";

const [before, after] = ["ssh://deploy@old.example.org", "ssh://deploy@new.example.org"];
const state = { ids: new Set(["a", "b"]), containers: ["togather-x-blue"], dockerHost: before };
const volumes = (keeps: boolean) => (): Promise<boolean> => Promise.resolve(keeps);

describe("a Docker host", () => {
  it.each<[string, Record<string, string>, string | undefined, boolean, boolean]>([
    ["has what the state knows", { blue: "a" }, before, true, false],
    ["is only called otherwise", { blue: "a", green: "new" }, after, true, false],
    ["is another one", {}, after, false, true],
    ["is another one, with a deployment of the same name", { blue: "c" }, after, true, true],
    ["is this machine instead", {}, undefined, false, true],
    ["has lost its containers", {}, before, true, false],
    ["has lost all", {}, before, false, true],
    ["has other containers than an older copy of the state", { blue: "c" }, before, true, false],
  ])("%s", async (_what, ids, wanted, keeps, elsewhere) => {
    expect(await isElsewhere({ ids }, state, wanted, volumes(keeps))).toBe(elsewhere);
    // Before the first deployment there is no other host.
    expect(await isElsewhere({ ids }, { ...state, containers: [] }, wanted, volumes(keeps))).toBe(false);
  });

  it("is named, with the one before, and the commands", () => {
    expect(elsewhereProblem({ setting: after, wanted: after, recorded: before })).toEqual({
      where: "togather:host",
      what: `this is deployed on ${before}, where it goes on running, and can't move to ${after}, which has nothing of it`,
      fix: expect.stringMatching(
        /^stay there: pulumi config set togather:host ssh:\/\/deploy@old\.example\.org; or begin anew on ssh:\/\/deploy@new\.example\.org on purpose: nothing moves the data/,
      ) as string,
    });
    const fixOf = (setting: string, wanted: string | undefined, recorded: string | undefined): string | undefined =>
      elsewhereProblem({ setting, wanted, recorded }).fix;
    expect(fixOf(after, after, undefined)).toMatch(/^stay there: pulumi config rm togather:host;/);
    expect(fixOf("", after, undefined)).toMatch(/^stay there: unset DOCKER_HOST/);
    expect(fixOf("", undefined, before)).toMatch(/config set togather:host .*begin anew on this machine's own engine/);
    expect(elsewhereProblem({ setting: before, wanted: before, recorded: before }).what).toMatch(/or it has lost all$/);
  });
});
