// Runs inside nginx (njs). The slot is one entry of memory that all workers share, so that a switch is one atomic write:
// every request that begins after it goes to the new slot, on whatever connection it comes.
import fs from "fs";

const stateFile = "/router/state/slot.json";
const names = ["blue", "green"];

/** The slot of the state file, or undefined. */
function persistedSlot() {
  const slot = JSON.parse(fs.readFileSync(stateFile, "utf8")).slot;
  if (!names.includes(slot)) throw new Error(`slot is ${JSON.stringify(slot)}`);
  return slot;
}

/** The slot that serves: from memory, or from the state file when nginx has just started; "" when there is neither. */
function slot(r) {
  const memory = ngx.shared.togather;
  const known = memory.get("slot");
  if (known !== undefined) return known;
  try {
    // `add` leaves alone what a switch has set meanwhile: that is newer than what was read.
    memory.add("slot", persistedSlot());
    return memory.get("slot");
  } catch (error) {
    r.error(`togather: no slot is active: nothing in memory, and ${stateFile}: ${error.message}`);
    return "";
  }
}

function answer(r, status, body) {
  r.headersOut["Content-Type"] = "application/json";
  r.return(status, JSON.stringify(body) + "\n");
}

/**
 * GET /slot: {"slot": "blue" | "green" | null}.
 * PUT /slot {"slot": "green"}: {"from": ..., "to": "green"}. Whoever calls has written the state file before.
 * DELETE /slot: forgets the slot; the state file counts again.
 */
function control(r) {
  const memory = ngx.shared.togather;
  if (r.method === "GET") {
    answer(r, 200, { slot: slot(r) || null });
    return;
  }
  const from = memory.get("slot") || null;
  if (r.method === "DELETE") {
    memory.delete("slot");
    answer(r, 200, { from, to: null });
    return;
  }
  if (r.method !== "PUT") {
    r.headersOut.Allow = "GET, PUT, DELETE";
    answer(r, 405, { error: "GET, PUT or DELETE" });
    return;
  }
  let to;
  try {
    to = JSON.parse(r.requestText).slot;
  } catch (ignored) {
    to = undefined;
  }
  if (!names.includes(to)) {
    answer(r, 400, { error: 'the body must be {"slot":"blue"} or {"slot":"green"}' });
    return;
  }
  memory.set("slot", to);
  r.warn(`togather: slot ${from} -> ${to}`);
  answer(r, 200, { from, to });
}

export default { slot, control };
