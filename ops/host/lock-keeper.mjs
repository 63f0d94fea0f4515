// `node lock-keeper.mjs ADDRESS|pid:NUMBER HEARTBEAT-MS`: keeps its stdin, the pipe to the container that holds the
// lock, open for as long as the deployment's engine, or a process, lives. The program can't do that: it may end before
// the last deletes. Plain JavaScript, which starts in half the time.
import { write } from "node:fs";
import { connect } from "node:http2";
import { setInterval } from "node:timers";

const [, , whose = "", heartbeatMs] = process.argv;
const pid = /^pid:(\d+)$/.exec(whose)?.[1];
if (pid === undefined) {
  const engine = connect(`http://${whose}`);
  engine.on("error", () => undefined);
  engine.once("close", () => process.exit());
} else {
  setInterval(() => {
    try {
      process.kill(Number(pid), 0);
    } catch {
      process.exit();
    }
  }, 200);
}
setInterval(() => write(0, "\n", () => undefined), Number(heartbeatMs));
