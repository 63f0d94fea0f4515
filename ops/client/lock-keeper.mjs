// `node lock-keeper.mjs ADDRESS HEARTBEAT-MS`: keeps its stdin, the pipe to the container that holds the lock, open for as
// long as the deployment's engine lives. The program can't: it may be gone before the last deletes.
// Plain JavaScript, which starts in half the time.
import { write } from "node:fs";
import { connect } from "node:http2";
import { setInterval } from "node:timers";

const [, , address, heartbeatMs] = process.argv;
const engine = connect(`http://${address}`);
engine.on("error", () => undefined);
engine.once("close", () => process.exit());
setInterval(() => write(0, "\n", () => undefined), Number(heartbeatMs));
