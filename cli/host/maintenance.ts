/** Maintenance, as the router is told of it and tells of it. */
import { containerName } from "../../ops/contract/names.ts";
import { tryDocker } from "../../ops/host/docker.ts";
import { readMaintenance, type Maintenance } from "../../ops/host/serving-slot.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";

/** With which the script ends where only its file could not be written. */
const notKept = 3;

/**
 * In the router's container: nginx first, which is what counts, then the file, by which it survives a restart.
 * $1 is what is kept; empty to end it.
 */
const script = `
file=/router/state/maintenance.json
tell() { curl --silent --show-error --fail --max-time 5 --unix-socket /router/run/control.sock "$@" http://router/maintenance; }
if [ -n "$1" ]; then
  tell --request PUT --data "$1" || exit 1
  umask 022
  printf '%s\\n' "$1" > "$file.tmp" && mv "$file.tmp" "$file" || { rm -f "$file.tmp"; exit ${notKept}; }
else
  tell --request DELETE || exit 1
  rm -f "$file" || exit ${notKept}
fi`;

interface About {
  name: string;
  host: string;
  stack: string;
}

/** @throws {Failure} where the router does not answer, or does not know maintenance. */
async function inRouter(
  { name, host, stack }: About,
  command: readonly string[],
): Promise<{ stdout: string; kept: boolean }> {
  const router = containerName(name, "router");
  const { ok, exitCode, stdout, stderr } = await tryDocker(["exec", router, ...command], { host });
  if (ok || exitCode === notKept) return { stdout, kept: ok };
  throw new Failure(
    "other",
    `the router does not answer${stderr.trim() === "" ? "" : `: ${stderr.trim()}`}. Nothing was changed`,
    `${invocation(`up --stack ${stack}`)} starts it, and brings one of an older version of this program up to date; docker logs --tail 20 ${router}`,
  );
}

/** The router's own answer; undefined where it is off. @throws {Failure} where there is none. */
export async function askMaintenance(about: About): Promise<Maintenance | undefined> {
  const curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "5", "--unix-socket"];
  return readMaintenance(
    (await inRouter(about, [...curl, "/router/run/control.sock", "http://router/maintenance"])).stdout,
  );
}

/**
 * Turns it on, or off where nothing is wanted.
 * @returns whether it stays so after a restart: otherwise its file could not be written, or removed.
 * @throws {Failure} where nothing was changed.
 */
export async function setMaintenance(about: About, wanted: Maintenance | undefined): Promise<boolean> {
  return (await inRouter(about, ["sh", "-c", script, "sh", wanted === undefined ? "" : JSON.stringify(wanted)])).kept;
}
