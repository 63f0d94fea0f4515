import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { slotNames } from "../../ops/contract/steps.ts";
import type { Problem } from "../problems.ts";
import type { StackSettings } from "../schema/stack-settings.ts";
import { errors, found, type Check } from "./check.ts";

/** Problems of an environment that runs the working tree: no slots, no router, no HTTPS. */
function developmentProblems(
  { environment, slots, tls, host, source }: StackSettings,
  projectDirectory: string,
): Problem[] {
  const problems: Problem[] = [];
  const held = Object.keys(slots);
  if (held.length > 0) {
    problems.push({
      where: "togather:slots",
      what: `${held.join(" and ")} ${held.length === 1 ? "holds a release" : "hold releases"}, but ${environment} has no slots: it runs the working tree`,
      fix: "pulumi config rm togather:slots; or choose the environment staging, which releases commits",
    });
  }
  if (tls !== undefined)
    problems.push({
      where: "togather:tls",
      what: `is set, but ${environment} has no router and serves plain HTTP only`,
      fix: "pulumi config rm togather:tls",
    });
  if (host !== "" && !host.startsWith("unix://")) {
    problems.push({
      where: "togather:host",
      what: `${host} is another machine, where the working tree of this one can't be mounted`,
      fix: `pulumi config rm togather:host; ${environment} needs the local Docker engine`,
    });
  }
  for (const [key, path] of [
    ["module", source.module],
    ["migrations", source.migrations],
  ] as const) {
    if (existsSync(resolve(projectDirectory, source.repository, path))) continue;
    problems.push({
      where: `togather:source.${key}`,
      what: `${path} is not in ${source.repository === "." ? "this project" : source.repository}, expected a directory there`,
      fix: "togather:source.repository, .module and .migrations name directories of the working tree",
    });
  }
  return problems;
}

/** The slots' releases and the active slot; in an environment without slots, their substitute. */
export const checkSlots: Check = ({ stack, rules, slots, projectDirectory }) => {
  const uncommitted = slotNames.filter((slot) => slots[slot]?.source.kind === "tree");
  return [
    ...found(
      rules.committedSource,
      uncommitted.map((slot) => ({
        where: `togather:slots.${slot}`,
        what: `${stack.environment} releases git commits; this one was made from files without history`,
        fix: "commit the source and name the commit",
      })),
    ),
    ...errors(rules.blueGreen ? activeSlotProblems(stack) : developmentProblems(stack, projectDirectory)),
  ];
};

function activeSlotProblems({ slots, activeSlot }: StackSettings): Problem[] {
  if (slots[activeSlot] !== undefined) return [];
  return [
    {
      where: "togather:activeSlot",
      what: `${activeSlot} is to serve, but togather:slots.${activeSlot} holds no release`,
      fix: `pulumi config set --path togather:slots.${activeSlot}.commit "$(git rev-parse HEAD)" and the same for .version`,
    },
  ];
}
