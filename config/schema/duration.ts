import ms, { type StringValue } from "ms";
import * as z from "zod";

/** A duration such as `30s`, `5m` or `1h`; at most `longest`. */
export function duration(longest: StringValue) {
  return z.string().refine(
    (text) => {
      // `ms` throws for an empty text.
      const parsed = text === "" ? undefined : (ms(text as StringValue) as number | undefined);
      return parsed !== undefined && parsed >= 0 && parsed <= ms(longest);
    },
    {
      error: (issue) =>
        `expected a time such as 30s, 5m or 1h, at most ${longest}, found ${JSON.stringify(issue.input)}`,
    },
  );
}

/** A valid duration in ms. */
export const milliseconds = (text: string): number => ms(text as StringValue);
