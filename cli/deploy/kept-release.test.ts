import { expect, it } from "vitest";
import { schemaProblem, type SchemaFacts } from "./kept-release.ts";

it.each<[string, SchemaFacts, RegExp | undefined]>([
  ["its own schema", { now: 4, needs: 4, served: undefined }, undefined],
  ["no migrations at all", { now: null, needs: null, served: undefined }, undefined],
  ["a schema that it has served with", { now: 6, needs: 4, served: 6 }, undefined],
  ["a later one", { now: 7, needs: 4, served: 6 }, /at schema version 7, and it was last seen to serve with 6/],
  ["a later one, where nobody has seen it", { now: 5, needs: 4, served: undefined }, /seen to serve with 4/],
  [
    "an older one, after a restore",
    { now: 3, needs: 4, served: 4 },
    /needs schema version 4, .* is at 3: its migrations would run/,
  ],
  ["a database that doesn't answer", { now: undefined, needs: 4, served: 4 }, /doesn't tell/],
  ["a commit that is not there", { now: 4, needs: undefined, served: 4 }, /can't be listed/],
])("knows whether a release may serve with %s", (_name, facts, problem) => {
  if (problem === undefined) expect(schemaProblem(facts)).toBeUndefined();
  else expect(schemaProblem(facts)).toMatch(problem);
});
