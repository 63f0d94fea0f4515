import { containerName } from "../../ops/contract/names.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import * as z from "zod";
import { duration, milliseconds } from "../../config/schema/duration.ts";
import { otherSlot } from "../../ops/contract/release.ts";
import { primaryUrl } from "../../config/public-url.ts";
import { tryDocker } from "../../ops/host/docker.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";
import { Failure } from "../failure.ts";
import { look } from "../host/look.ts";
import { invocation } from "../output.ts";

interface PreviewOptions extends CommonOptions {
  slot?: SlotName;
  for: string;
}

const answerSchema = z.object({ token: z.string(), expires: z.number() });

function checkedTime(text: string): string {
  const parsed = duration("7d").safeParse(text);
  if (!parsed.success || milliseconds(text) < 1_000)
    throw new InvalidArgumentError(parsed.error?.issues[0]?.message ?? "expected at least 1s");
  return text;
}

/**
 * Lets the router sign a token: its key never leaves it.
 * @throws {Failure} when it doesn't.
 */
async function askRouter(
  { name, host }: { name: string; host: string },
  wanted: { slot: SlotName; seconds: number; version: string | undefined },
): Promise<z.infer<typeof answerSchema>> {
  const router = containerName(name, "router");
  const curl = [
    "curl",
    "--silent",
    "--fail",
    "--unix-socket",
    "/router/run/control.sock",
    "--data",
    JSON.stringify(wanted),
    "http://router/preview",
  ];
  const { ok, stdout, stderr } = await tryDocker(["exec", router, ...curl], { host });
  if (!ok)
    throw new Failure(
      "other",
      `the router makes no token${stderr.trim() === "" ? "" : `: ${stderr.trim()}`}`,
      `docker logs --tail 20 ${router}; one that an older version of this program made has to be brought up to date: ${invocation("up")}`,
    );
  return answerSchema.parse(JSON.parse(stdout));
}

export function previewUrlCommand(program: Command): void {
  withCommonOptions(program.command("preview-url"))
    .summary("make a link and a header that lead to the idle slot")
    .description(
      "Makes a signed link for people and a header for smoke tests. Both lead to the idle slot through the public port; everybody else reaches the slot that serves.",
    )
    .addOption(new Option("--slot <slot>", "slot to look at (default: the idle one)").choices(slotNames))
    .option("--for <time>", "how long the link is valid, such as 30m, at most 7d", checkedTime, "1h")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<PreviewOptions>();
      const { file, settings, output } = await readContext(options);
      refuseWithoutSlots("preview-url", file, settings);
      const report = await look(settings);
      if (report.router.state !== "running")
        throw new Failure(
          "other",
          `the router ${report.router.state === undefined ? "does not exist" : `is ${report.router.state}`}, so that nothing leads anywhere`,
          invocation(`up --stack ${file.stack}`),
        );
      const slot = options.slot ?? otherSlot(report.router.slot ?? settings.activeSlot);
      const { container, release } = report.slots[slot];
      if (container?.state !== "running") {
        throw new Failure(
          "other",
          `${slot} ${container === undefined ? "has no container" : `is ${container.state}`}: there is nothing to look at`,
          invocation(`release REF --no-switch --stack ${file.stack}`),
        );
      }
      const { token, expires } = await askRouter(settings, {
        slot,
        seconds: Math.floor(milliseconds(options.for) / 1000),
        version: release?.version,
      });
      const base = primaryUrl(settings);
      const document = {
        stack: file.stack,
        slot,
        release: release ?? null,
        url: `${base}/_togather/preview?token=${token}`,
        header: { name: "X-Togather-Preview", value: token },
        expires: new Date(expires * 1000).toISOString(),
      };
      output.result(document, () =>
        [
          `${slot}${release === undefined ? "" : ` (${release.version})`}${slot === report.router.slot ? ", which serves" : ", which does not serve"}; valid until ${document.expires.slice(0, 16).replace("T", " ")}Z`,
          `  in a browser:  ${document.url}`,
          `  in a test:     curl -H 'X-Togather-Preview: ${token}' ${base}/`,
        ].join("\n"),
      );
    });
}
