import type { Report } from "./step.ts";

/** A step with what it does; `work` resolves with its result in a few words. */
export interface Task {
  title: string;
  work: (report: Report) => Promise<string>;
}

/** Interval of messages about a long step in a log without a terminal, in ms. */
const HEARTBEAT = 30_000;

const seconds = (since: number) => Math.round((Date.now() - since) / 1000);

/** Live: one line a step, and below it what the running one does and for how long. */
async function showLive(tasks: readonly Task[]): Promise<void> {
  // Loaded when there is something to show: most commands have nothing.
  const { Listr, PRESET_TIMER } = await import("listr2");
  const asListrTask = ({ title, work }: Task) => ({
    title,
    async task(_: unknown, task: { title: string; output: string }) {
      const start = Date.now();
      let [doing, detail] = ["", ""];
      const draw = () => {
        task.output = `${doing} (${seconds(start)} s)${detail && `: ${detail}`}`;
      };
      const report: Report = Object.assign(
        (line: string) => {
          [doing, detail] = [line, ""];
          draw();
        },
        {
          detail: (line: string) => {
            detail = line.trim();
            draw();
          },
        },
      );
      const timer = setInterval(draw, 1000);
      try {
        task.title = `${title}: ${await work(report)}`;
      } finally {
        clearInterval(timer);
      }
    },
  });
  await new Listr(tasks.map(asListrTask), { rendererOptions: { timer: PRESET_TIMER, showErrorMessage: false } }).run();
}

/** For a log: lines only, and a sign of life now and then. */
async function showLines(tasks: readonly Task[]): Promise<void> {
  for (const { title, work } of tasks) {
    const start = Date.now();
    let doing = "";
    const draw = () => {
      console.log(`  ${doing} (${seconds(start)} s)`);
    };
    const report: Report = Object.assign(
      (line: string) => {
        if (doing === "") console.log(`${title} ...`);
        doing = line;
        draw();
      },
      { detail: () => undefined },
    );
    const timer = setInterval(draw, HEARTBEAT);
    try {
      console.log(`${title}: ${await work(report)} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    } finally {
      clearInterval(timer);
    }
  }
}

/** Does tasks one after the other, and shows them: live on a terminal, as lines elsewhere. */
export async function showSteps(tasks: readonly Task[]): Promise<void> {
  if (tasks.length > 0) await (process.stdout.isTTY ? showLive : showLines)(tasks);
}
