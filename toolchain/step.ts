/** Shows what a step is doing. */
export interface Report {
  /** It has come to something else, worth a line in a log. */
  (line: string): void;
  /** A line of the program that is doing it: worth a look while it lasts. */
  detail: (line: string) => void;
}

/** One thing that must be on the machine. */
export interface Step {
  /** Its subject: "Docker engine". */
  title: string;
  /** A few words about what is installed; undefined when something is missing. Quick, and without a network. */
  check(): Promise<string | undefined>;
  /** Supplies what is missing and says what it did; throws a `Problem` when it can't. */
  supply(report: Report): Promise<string>;
}

/** A step that another one needs, done inside of it. */
export async function ensure(step: Step, report: Report): Promise<string> {
  return (await step.check()) ?? (await step.supply(report));
}
