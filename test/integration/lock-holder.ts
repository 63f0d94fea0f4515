/** `node lock-holder.ts REQUEST`: a program that takes the lock of a deployment and lives until it is killed, or loses it. */
import { setInterval } from "node:timers";
import { takeHostLock, thisHolder, type HostLockRequest } from "../../ops/host/host-lock.ts";

const request = JSON.parse(process.argv[2] ?? "{}") as Pick<
  HostLockRequest,
  "name" | "engine" | "force" | "silenceSeconds"
>;
const release = { version: "v1.0.0", commit: "a".repeat(40) };
const result = await takeHostLock({
  host: "",
  holder: thisHolder({ stack: "organization/togather/other", active_slot: "blue", slots: { blue: release } }),
  onWait: () => undefined,
  onLost: () => {
    console.log("lost");
    process.exit(1);
  },
  ...request,
});
console.log(JSON.stringify(result));
if (result.held) setInterval(() => undefined, 1000);
