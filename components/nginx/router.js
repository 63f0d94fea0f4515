// Runs inside nginx (njs). Which slot serves is one entry of memory that all workers share, so that a switch is one
// atomic write: every request that begins after it goes to the new slot, on whatever connection it comes.
import crypto from "crypto";
import fs from "fs";

const stateFile = "/router/state/slot.json";
/** Signs tokens that lead to the slot that does not serve. Made by router-start, never leaves the router. */
const keyFile = "/router/state/preview.key";
/** While it is there, everybody gets a page of the router's own. */
const maintenanceFile = "/router/state/maintenance.json";
/** Seconds after which clients are told to come back. */
const maintenanceRetry = 120;
/** Certificates are renewed through these meanwhile. */
const challenges = "/.well-known/acme-challenge/";
const names = ["blue", "green"];
/** A week: longest validity of such a token, in seconds. */
const longestPreview = 7 * 24 * 3600;
/** Begins the names of all deployments' cookies. */
const previewCookies = "togather_preview";
/** Upper bounds of the histogram's buckets, in seconds; one more has no bound. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Seconds: requests that wait for an answer are counted by when they began, in steps of this. */
const waitStep = 5;
/** So many steps are told apart: few enough for the zone's memory. A request that waits longer, where a server may be silent so long, has long been counted as hanging. */
const waitSteps = 64;
const classes = ["2xx", "3xx", "4xx", "5xx", "1xx"];

/** What the state file says, into memory where nothing is yet; the slot of the file. */
function readStateFile() {
  const state = JSON.parse(fs.readFileSync(stateFile, "utf8"));
  if (!names.includes(state.slot)) throw new Error(`slot is ${JSON.stringify(state.slot)}`);
  const memory = ngx.shared.togather;
  names.forEach((name) => {
    const version = (state.versions || {})[name];
    if (typeof version === "string") memory.add(`version ${name}`, version);
  });
  // `add` leaves alone what a switch has set meanwhile: that is newer than what was read.
  memory.add("slot", state.slot);
  return memory.get("slot");
}

/** The slot that serves: from memory, or from the state file when nginx has just started; "" when there is neither. */
function servingSlot(r) {
  const known = ngx.shared.togather.get("slot");
  if (known !== undefined) return known;
  try {
    return readStateFile();
  } catch (error) {
    r.error(`togather: no slot is active: nothing in memory, and ${stateFile}: ${error.message}`);
    return "";
  }
}

/** {slot, percent, sticky} of the slot that gets a share of the requests beside the one that serves; undefined for none. */
function canary() {
  const text = ngx.shared.canary.get("canary");
  return text === undefined ? undefined : JSON.parse(text);
}

/** What the file says, as it is kept in memory; "" where there is none. */
function maintenanceInFile(r) {
  let text;
  try {
    text = fs.readFileSync(maintenanceFile, "utf8");
  } catch (ignored) {
    return "";
  }
  try {
    return JSON.stringify(maintenanceOf(JSON.parse(text)));
  } catch (error) {
    // Somebody has turned it on: what is wrong is only what was to be said.
    r.error(`togather: ${maintenanceFile}: ${error.message}`);
    return JSON.stringify(maintenanceOf({}));
  }
}

const textOr = (value) => (typeof value === "string" ? value : "");
const maintenanceOf = (body) => ({ since: textOr(body.since), by: textOr(body.by), message: textOr(body.message) });

/** {since, by, message} while maintenance is on; undefined otherwise. From memory, or from its file when nginx has just started. */
function maintenance(r) {
  const memory = ngx.shared.togather;
  let text = memory.get("maintenance");
  if (text === undefined) {
    // `add` leaves alone what was said meanwhile.
    memory.add("maintenance", maintenanceInFile(r));
    text = memory.get("maintenance");
  }
  return text ? JSON.parse(text) : undefined;
}

/** From 0 to 100, always the same for one client address (FNV-1a). */
function shareOfAddress(address) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < address.length; i++) hash = Math.imul(hash ^ address.charCodeAt(i), 0x01000193);
  return ((hash >>> 0) % 10000) / 100;
}

/** The key, read once. */
function previewKey() {
  const memory = ngx.shared.togather;
  const known = memory.get("preview key");
  if (known !== undefined) return known;
  const key = fs.readFileSync(keyFile, "utf8").trim();
  if (key.length < 32) throw new Error(`${keyFile} is too short`);
  memory.set("preview key", key);
  return key;
}

function signature(text) {
  return crypto.createHmac("sha256", previewKey()).update(text).digest("base64url");
}

/** Takes as long whatever differs. */
function sameText(a, b) {
  if (a.length !== b.length) return false;
  let different = 0;
  for (let i = 0; i < a.length; i++) different |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return different === 0;
}

/** Where tokens lead: to a slot, or, past maintenance, to the one that serves. */
const leadsTo = (name) => names.includes(name) || name === "serving";

/** {slot, seconds left} of a token `v1.<slot>.<expiry, unix seconds>.<HMAC-SHA256>`; undefined for one that is not good, or not any more. */
function readPreview(token) {
  const parts = token.split(".");
  const left = Number(parts[2]) - Date.now() / 1000;
  if (parts.length !== 4 || parts[0] !== "v1" || !leadsTo(parts[1]) || !(left > 0)) return undefined;
  return sameText(parts[3], signature(parts.slice(0, 3).join("."))) ? { slot: parts[1], left: Math.floor(left) } : undefined;
}

function chooseSlot(r) {
  const token = r.variables.togather_preview;
  if (token) {
    try {
      const preview = readPreview(token);
      // Never the slot that serves instead: a smoke test would pass on the wrong one.
      if (preview === undefined) return "refused";
      return preview.slot === "serving" ? servingSlot(r) : preview.slot;
    } catch (error) {
      r.error(`togather: no preview: ${error.message}`);
      return "refused";
    }
  }
  const serving = servingSlot(r);
  if (serving !== "" && maintenance(r) !== undefined && !r.uri.startsWith(challenges)) return "maintenance";
  const now = serving === "" ? undefined : canary();
  if (now === undefined) return serving;
  const share = now.sticky ? shareOfAddress(r.remoteAddress) : Math.random() * 100;
  return share < now.percent ? now.slot : serving;
}

/** The slot of a request, which is open from here until `count`. */
function slot(r) {
  const name = chooseSlot(r);
  const counters = ngx.shared.counters;
  counters.incr(`${name || "none"} open`, 1, 0);
  if (names.includes(name) && !r.variables.togather_preview) {
    const now = Math.floor(Date.now() / 1000 / waitStep);
    const step = now % waitSteps;
    // What an earlier round has left there is over, or was a worker's that was killed.
    if (counters.get(`${name} step`) !== now) {
      counters.set(`${name} step`, now);
      counters.set(`${name} waiting ${step}`, 0);
    }
    r.variables.togather_waiting = String(now);
    counters.incr(`${name} waiting ${step}`, 1, 0);
  }
  return name;
}

/** A request has its answer, or will have none. */
function endWaiting(r, name) {
  const began = r.variables.togather_waiting;
  if (!began) return;
  r.variables.togather_waiting = "";
  // What began a whole round ago is in no number any more: its place is another step's.
  if (Math.floor(Date.now() / 1000 / waitStep) - Number(began) >= waitSteps) return;
  ngx.shared.counters.incr(`${name} waiting ${Number(began) % waitSteps}`, -1, 0);
}

/** Called with the headers of a slot's answer. */
function answered(r) {
  endWaiting(r, r.variables.togather_slot);
}

/** Requests of a slot that have waited for their answer for at least a step. */
function hanging(name) {
  const now = Math.floor(Date.now() / 1000 / waitStep);
  let sum = 0;
  // Those of this step and the one before may have begun just now.
  for (let age = 2; age < waitSteps; age++) sum += Math.max(0, counter(`${name} waiting ${(now - age + waitSteps) % waitSteps}`));
  return sum;
}

/** The version of the release in a request's slot, as the switch told it. */
function version(r) {
  return ngx.shared.togather.get(`version ${r.variables.togather_slot}`) || "";
}

/** Counts a request, once, when its line of the access log is written; returns its status. */
function count(r) {
  const variables = r.variables;
  let name = variables.togather_slot || "none";
  const counters = ngx.shared.counters;
  counters.incr(`${name} open`, -1, 0);
  endWaiting(r, name);
  // Not the public's: it says nothing about how the slot serves.
  if (variables.togather_preview && names.includes(name)) name = `preview ${name}`;
  counters.incr(`${name} ${variables.status.charAt(0)}xx`, 1, 0);
  // Given up by the client, before the slot said anything.
  if (variables.status === "499" && !(Number(variables.upstream_header_time) >= 0)) counters.incr(`${name} abandoned`, 1, 0);
  if (["401", "403", "429"].includes(variables.status)) counters.incr(`${name} refused`, 1, 0);
  // Until the first byte of the server's answer: that of a stream or WebSocket doesn't count its whole life.
  const seconds = Number(variables.upstream_header_time);
  if (seconds >= 0) {
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]) bucket++;
    counters.incr(`${name} ${bucket}`, 1, 0);
    counters.incr(`${name} seconds`, seconds, 0);
  }
  return variables.status;
}

function counter(key) {
  return ngx.shared.counters.get(key) || 0;
}

/** All that was counted for a slot since nginx started. */
function countersOf(name) {
  const requests = {};
  classes.forEach((one) => {
    requests[one] = counter(`${name} ${one}`);
  });
  const buckets = [];
  for (let i = 0; i <= bounds.length; i++) buckets.push(counter(`${name} ${i}`));
  return { requests, buckets, seconds: counter(`${name} seconds`), open: counter(`${name} open`), abandoned: counter(`${name} abandoned`), refused: counter(`${name} refused`), hanging: hanging(name) };
}

function answer(r, status, body) {
  r.headersOut["Content-Type"] = "application/json";
  r.return(status, JSON.stringify(body) + "\n");
}

function bodyOf(r) {
  try {
    return JSON.parse(r.requestText) || {};
  } catch (ignored) {
    return {};
  }
}

/**
 * GET /slot: {"slot": "blue" | "green" | null}.
 * PUT /slot {"slot": "green", "version": "v1.4.0"}: {"from": ..., "to": "green"}. Ends a canary. Whoever calls has written the state file before.
 * DELETE /slot: forgets the slot; the state file counts again.
 */
function control(r) {
  const memory = ngx.shared.togather;
  if (r.method === "GET") {
    answer(r, 200, { slot: servingSlot(r) || null });
    return;
  }
  const from = memory.get("slot") || null;
  if (r.method === "DELETE") {
    memory.delete("slot");
    ngx.shared.canary.delete("canary");
    answer(r, 200, { from, to: null });
    return;
  }
  if (r.method !== "PUT") {
    r.headersOut.Allow = "GET, PUT, DELETE";
    answer(r, 405, { error: "GET, PUT or DELETE" });
    return;
  }
  const body = bodyOf(r);
  const to = body.slot;
  if (!names.includes(to)) {
    answer(r, 400, { error: 'the body must be {"slot":"blue"} or {"slot":"green"}' });
    return;
  }
  if (typeof body.version === "string") memory.set(`version ${to}`, body.version);
  memory.set("slot", to);
  ngx.shared.canary.delete("canary");
  if (from !== to) ngx.shared.counters.incr("switches", 1, 0);
  r.warn(`togather: slot ${from} -> ${to}`);
  answer(r, 200, { from, to });
}

/**
 * GET /maintenance: {"maintenance": {"since": ..., "by": ..., "message": ...} | null}.
 * PUT /maintenance with that: everybody gets the router's own page. DELETE /maintenance: no more. Whoever calls keeps the file.
 */
function controlMaintenance(r) {
  const memory = ngx.shared.togather;
  if (r.method === "PUT") memory.set("maintenance", JSON.stringify(maintenanceOf(bodyOf(r))));
  else if (r.method === "DELETE") memory.set("maintenance", "");
  else if (r.method !== "GET") {
    r.headersOut.Allow = "GET, PUT, DELETE";
    answer(r, 405, { error: "GET, PUT or DELETE" });
    return;
  }
  if (r.method !== "GET") r.warn(`togather: maintenance ${r.method === "PUT" ? "on" : "off"}`);
  answer(r, 200, { maintenance: maintenance(r) || null });
}

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");

/** What is answered where no slot is asked: there is none, or maintenance is on. */
function unavailable(r) {
  const isOn = r.variables.togather_slot === "maintenance";
  const now = isOn ? maintenance(r) : undefined;
  const id = r.variables.togather_request_id;
  if (!isOn) {
    answer(r, 503, { error: "service_unavailable", message: "no slot is active", request_id: id });
    return;
  }
  const message = (now && now.message) || "This site is under maintenance, and will be back soon.";
  r.headersOut["Retry-After"] = String(maintenanceRetry);
  r.headersOut["Cache-Control"] = "no-store";
  if (!/\btext\/html\b/i.test(r.headersIn.Accept || "")) {
    answer(r, 503, { error: "maintenance", message, request_id: id });
    return;
  }
  r.headersOut["Content-Type"] = "text/html; charset=utf-8";
  r.return(
    503,
    `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex"><title>Maintenance</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:20vh auto;padding:0 1rem}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}}</style></head>
<body><h1>Maintenance</h1><p>${escaped(message)}</p></body></html>
`,
  );
}

/**
 * PUT /canary {"slot": "green", "percent": 5, "sticky": false, "version": "v1.4.0"}: that slot gets this share of the requests. It
 * lapses after 30 s unless it is put again: whoever watches it may die.
 * DELETE /canary: it gets none.
 */
function controlCanary(r) {
  if (r.method === "DELETE") {
    ngx.shared.canary.delete("canary");
    answer(r, 200, { canary: null });
    return;
  }
  const body = bodyOf(r);
  if (r.method !== "PUT" || !names.includes(body.slot) || !(body.percent >= 0 && body.percent <= 100)) {
    answer(r, 400, { error: 'PUT {"slot":"green","percent":5,"sticky":false}, or DELETE' });
    return;
  }
  const now = { slot: body.slot, percent: body.percent, sticky: body.sticky === true };
  if (typeof body.version === "string") ngx.shared.togather.set(`version ${body.slot}`, body.version);
  ngx.shared.canary.set("canary", JSON.stringify(now));
  answer(r, 200, { canary: now });
}

/**
 * The certificate that was put beside the one that nginx was configured with; "" for none. `DIGEST DIGEST\nCERTIFICATE\0KEY`:
 * of the configuration that nginx runs, and of the one that it serves with this certificate.
 */
function renewed() {
  const put = ngx.shared.certificates.get("pair");
  return put !== undefined && put.startsWith(`${togatherCertificate.configuration} `) ? put : "";
}

function certificate(r) {
  const pair = r.variables.togather_renewed;
  return pair === "" ? togatherCertificate.certificate : pair.slice(pair.indexOf("\n") + 1, pair.indexOf("\0"));
}

function key(r) {
  const pair = r.variables.togather_renewed;
  return pair === "" ? togatherCertificate.key : pair.slice(pair.indexOf("\0") + 1);
}

/** Digest of the configuration that is served, with its certificate. */
function served(r) {
  const pair = typeof togatherCertificate === "undefined" ? "" : renewed();
  return pair === "" ? r.variables.togather_configuration : pair.slice(pair.indexOf(" ") + 1, pair.indexOf("\n"));
}

/** GET /configuration: that. */
function configuration(r) {
  r.headersOut["Content-Type"] = "text/plain";
  r.return(200, served(r));
}

/**
 * PUT /certificate with tls/certificate.json of another configuration: {"from": DIGEST, "to": DIGEST}. All connections from here on get its certificate.
 * 409 where anything else differs: that takes a reload.
 */
function controlCertificate(r) {
  const body = bodyOf(r);
  const runs = togatherCertificate;
  if (r.method !== "PUT" || ![body.configuration, body.certificate, body.key].every((one) => typeof one === "string" && one !== "")) {
    answer(r, 400, { error: "PUT tls/certificate.json of a configuration" });
    return;
  }
  // What was put beside another configuration is not for this one when that comes back.
  if (renewed() === "") ngx.shared.certificates.delete("pair");
  if (body.files !== runs.files) {
    answer(r, 409, { error: "more than the certificate differs: reload" });
    return;
  }
  const before = served(r);
  if (before !== body.configuration)
    ngx.shared.certificates.set("pair", `${runs.configuration} ${body.configuration}\n${body.certificate}\0${body.key}`);
  answer(r, 200, { from: before, to: body.configuration });
}

/** The cookies of a request without those of previews, however their names are written: nginx is as generous when it reads it. */
function otherCookies(r) {
  return r.variables.http_cookie
    .split(";")
    .map((part) => part.trim())
    .filter((part) => !part.split("=")[0].trim().toLowerCase().startsWith(previewCookies))
    .join("; ");
}

/**
 * POST /preview {"slot": "green", "seconds": 3600, "version": "v1.4.0"}: {"token": ..., "expires": unix seconds}: what leads to that slot through
 * the public port; `serving`: to the one that serves, also while maintenance is on.
 */
function controlPreview(r) {
  const body = bodyOf(r);
  if (r.method !== "POST" || !leadsTo(body.slot) || !(body.seconds >= 1 && body.seconds <= longestPreview)) {
    answer(r, 400, { error: `POST {"slot":"green","seconds":3600}, at most ${longestPreview} s` });
    return;
  }
  // Of a release that was filled in without a switch, nobody else has told the version.
  if (typeof body.version === "string" && names.includes(body.slot)) ngx.shared.togather.set(`version ${body.slot}`, body.version);
  const expires = Math.floor(Date.now() / 1000 + body.seconds);
  const text = `v1.${body.slot}.${expires}`;
  answer(r, 200, { token: `${text}.${signature(text)}`, expires });
}

/** The page that turns a token of the URL into a cookie, for people; without a token it takes the cookie away. */
function enterPreview(r) {
  const token = r.args.token;
  // Behind a proxy, what that says of the visitor's connection.
  const secure = (r.variables.togather_scheme || r.variables.scheme) === "https" ? "; Secure" : "";
  const cookie = (value, seconds) => [`${r.variables.togather_preview_cookie}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`];
  r.headersOut["Cache-Control"] = "no-store";
  if (token === undefined || token === "") {
    r.headersOut["Set-Cookie"] = cookie("", 0);
    r.return(302, "/");
    return;
  }
  let preview;
  try {
    preview = readPreview(token);
  } catch (error) {
    r.error(`togather: no preview: ${error.message}`);
  }
  if (preview === undefined) {
    answer(r, 403, { error: "forbidden", message: "this preview link is not valid, or not any more: togather preview-url makes a new one" });
    return;
  }
  r.headersOut["Set-Cookie"] = cookie(token, preview.left);
  r.return(302, "/");
}

/** GET /counters: {"blue": {"requests": {"2xx": 1, ...}, "buckets": [...], "seconds": ..., "open": 0, "abandoned": 0, "refused": 0, "hanging": 0}, "green": ..., "bounds": [...]}. */
function counters(r) {
  answer(r, 200, { blue: countersOf("blue"), green: countersOf("green"), bounds });
}

/** The same for Prometheus, with who serves. */
function metrics(r) {
  const serving = servingSlot(r);
  const now = canary();
  const memory = ngx.shared.togather;
  const lines = [];
  const metric = (name, type, help) => lines.push(`# HELP togather_router_${name} ${help}`, `# TYPE togather_router_${name} ${type}`);
  const sample = (name, labels, value) => lines.push(`togather_router_${name}${labels === "" ? "" : `{${labels}}`} ${value}`);

  metric("requests_total", "counter", "Requests by slot and status class; slot none: no slot served; refused: a bad preview token; maintenance: it was on.");
  names.concat("none", "refused", "maintenance").forEach((name) => {
    classes.forEach((one) => sample("requests_total", `slot="${name}",code="${one}"`, counter(`${name} ${one}`)));
  });
  metric("preview_requests_total", "counter", "Requests that a token led to a slot; they are in no other number but the open ones.");
  names.forEach((name) => {
    classes.forEach((one) => sample("preview_requests_total", `slot="${name}",code="${one}"`, counter(`preview ${name} ${one}`)));
  });
  metric("response_seconds", "histogram", "Seconds until the first byte of the slot's answer.");
  names.forEach((name) => {
    const all = countersOf(name);
    let sum = 0;
    all.buckets.forEach((value, i) => {
      sum += value;
      sample("response_seconds_bucket", `slot="${name}",le="${i < bounds.length ? bounds[i] : "+Inf"}"`, sum);
    });
    sample("response_seconds_sum", `slot="${name}"`, all.seconds);
    sample("response_seconds_count", `slot="${name}"`, sum);
  });
  metric("open_requests", "gauge", "Requests that have not ended, WebSockets and streams among them.");
  names.forEach((name) => sample("open_requests", `slot="${name}"`, counter(`${name} open`)));
  metric("active_slot", "gauge", "1 for the slot that serves.");
  names.forEach((name) => sample("active_slot", `slot="${name}"`, name === serving ? 1 : 0));
  metric("weight_percent", "gauge", "Share of new requests that a slot gets.");
  names.forEach((name) => {
    const other = now === undefined ? 0 : now.percent;
    const own = now !== undefined && now.slot === name ? other : 0;
    sample("weight_percent", `slot="${name}"`, serving === "" ? 0 : name === serving && own === 0 ? 100 - other : own);
  });
  metric("maintenance", "gauge", "1 while everybody gets the router's own page.");
  sample("maintenance", "", maintenance(r) === undefined ? 0 : 1);
  metric("switches_total", "counter", "Moves of all traffic from a slot to the other.");
  sample("switches_total", "", counter("switches"));
  metric("slot_info", "gauge", "The release that a slot serves, or served last.");
  names.forEach((name) => {
    const known = memory.get(`version ${name}`);
    if (known !== undefined) sample("slot_info", `slot="${name}",version="${known.replace(/["\\\\\n]/g, "_")}"`, 1);
  });
  r.headersOut["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8";
  r.return(200, lines.join("\n") + "\n");
}

export default { slot, answered, version, count, renewed, certificate, key, configuration, controlCertificate, control, controlCanary, controlMaintenance, unavailable, controlPreview, enterPreview, otherCookies, counters, metrics };
