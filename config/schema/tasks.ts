import * as z from "zod";
import type { StepRequest, Task } from "../../ops/contract/steps.ts";
import { duration, milliseconds } from "./duration.ts";
import type { Problem } from "../problems.ts";

const taskSchema = z.strictObject({
  /** Its name in the log and the phases. */
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,39}$/, "expected lower-case letters, digits and dashes, at most 40, a letter first"),
  /** Program and arguments: no shell. */
  command: z
    .array(z.string(), {
      error: (issue) => `expected a list of words, such as [/server, warm-cache], found ${JSON.stringify(issue.input)}`,
    })
    .refine(([program = ""]) => program !== "", "expected a program and its arguments, such as [/server, warm-cache]"),
  when: z.enum(["before-switch", "after-switch"], {
    error: (issue) => `expected before-switch or after-switch, found ${JSON.stringify(issue.input)}`,
  }),
  /** Time limit: after it the task is stopped, and has failed. */
  timeout: duration("6h")
    .refine((text) => milliseconds(text) > 0, "expected more than no time")
    .default("5m"),
  /**
   * It may run on a copy of the data beforehand, with TOGATHER_REHEARSAL=true: it must then do nothing outside of the
   * database.
   */
  rehearse: z.boolean().default(false),
  /**
   * The effect of a failure after the switch: traffic goes back, or a warning. Before the switch, a failure always
   * stops the release.
   */
  onFailure: z
    .enum(["send-back", "warn"], {
      error: (issue) => `expected send-back or warn, found ${JSON.stringify(issue.input)}`,
    })
    .optional(),
});
/** Commands that run with each release, in this order. */
export const tasksSchema = z.array(taskSchema);
type TaskSettings = z.infer<typeof taskSchema>;

/** Problems of the tasks together. */
export function taskProblems(tasks: readonly TaskSettings[]): Problem[] {
  return tasks.flatMap(({ name, when, onFailure }, index): Problem[] => {
    const where = `togather:source.tasks[${index}]`;
    const first = tasks.findIndex((other) => other.name === name);
    return [
      ...(first === index
        ? []
        : [
            {
              where: `${where}.name`,
              what: `${name} is the name of togather:source.tasks[${first}] too`,
              fix: "give it a name of its own",
            },
          ]),
      ...(when === "before-switch" && onFailure !== undefined
        ? [
            {
              where: `${where}.onFailure`,
              what: `is for a task with when: after-switch; ${name} is run before, and stops the release when it fails`,
              fix: "leave it out",
            },
          ]
        : []),
    ];
  });
}

const plain = ({ name, command, timeout }: TaskSettings): Task => ({ name, command, timeoutMs: milliseconds(timeout) });

/** The tasks that may run on a copy of the data, in the order of their real run. */
export const tasksToRehearse = (tasks: readonly TaskSettings[]): Task[] =>
  [...tasks]
    .sort((a, b) => Number(a.when === "after-switch") - Number(b.when === "after-switch"))
    .filter(({ rehearse }) => rehearse)
    .map(plain);

/** The tasks before the switch, in the form of their steps' requests. */
export const tasksBefore = (tasks: readonly TaskSettings[]): Task[] =>
  tasks.filter(({ when }) => when === "before-switch").map(plain);

/** The tasks after the switch, in the form of its request. Undefined: none, so that the request stays unchanged. */
export function tasksAfter(tasks: readonly TaskSettings[]): StepRequest<"switch">["tasks"] {
  const after = tasks
    .filter(({ when }) => when === "after-switch")
    .map((task) => ({ ...plain(task), onFailure: task.onFailure ?? ("send-back" as const) }));
  return after.length === 0 ? undefined : after;
}
