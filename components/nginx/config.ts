import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { join } from "node:path";
import { ipNetwork } from "../../config/schema/ip-network.ts";
import type { SlotName } from "../../ops/contract/steps.ts";

/** Port for this deployment's own requests behind proxies, in the private network only: it needs no proxy's header. */
export const internalPort = 9080;

/** Proxies before the router. */
export interface TrustedProxies {
  /** Their addresses and networks. */
  trusted: readonly string[];
  /** Connections begin with a PROXY protocol header, in place of X-Forwarded-For. */
  proxyProtocol: boolean;
  /** HTTPS port of the first proxy, for visitors. */
  publicHttpsPort: number;
}

export interface NginxOptions {
  /** Both slots' addresses, IPv4:port, also of an empty slot. */
  slots: Record<SlotName, string>;
  /** Listens on 8443 with tls/certificate.pem and tls/key.pem, besides 8080. */
  tls: boolean;
  /** Redirects plain HTTP to HTTPS at this public port. Default: HTTP is served like HTTPS. */
  redirectToHttpsPort?: number;
  /** Requests a second for each client address, and a burst beyond that. Default: no limit. */
  rateLimit?: { requestsPerSecond: number; burst: number };
  /** Time that workers replaced by a reload have to end their open requests, in seconds. Default: 30. */
  drainSeconds?: number;
  /** Seconds until a slot that accepts no connection causes a 502. Default: 3. */
  connectSeconds?: number;
  /** Seconds of silence of the server until a request is given up (504); a heartbeat keeps streams open. Default: 120. */
  readSeconds?: number;
  /** Seconds of silence of a client in the middle of its body. Default: 30. */
  bodySeconds?: number;
  /** Largest request body, in MB. Default: 32. */
  maxBodyMegabytes?: number;
  /**
   * Seconds that an idle connection to a slot is kept. It has to be shorter than the server's own limit: a request on a
   * connection that is just being closed causes a 502. Default: 4, less than Node's 5 and the 10 of a Go server with
   * such a ReadTimeout.
   */
  idleSeconds?: number;
  /** The deployment's name, which makes its preview cookies distinct. Default: none, for a single deployment. */
  name?: string;
  /** Paths that the router itself answers with 404, with everything below them, such as /metrics. Default: none. */
  closedPaths?: readonly string[];
  /** Trusted proxies. Default: none, visitors reach the router directly. */
  proxies?: TrustedProxies;
}

/** A path that can be closed: plain characters, without a slash at its end. */
const closedPath = /^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$/;

const directory = import.meta.dirname;
/** False and undefined leave a section out; a record gives it its own values. */
type Values = Record<string, string | number | boolean | undefined | Record<string, string | number>>;

/** The files of the router's configuration directory, by name. `ops router` adds digest.conf and tls/. */
export function renderNginxFiles(options: NginxOptions): Record<string, string> {
  const { slots, tls, redirectToHttpsPort, rateLimit, proxies } = options;
  const {
    drainSeconds = 30,
    connectSeconds = 3,
    readSeconds = 120,
    bodySeconds = 30,
    maxBodyMegabytes = 32,
    idleSeconds = 4,
    closedPaths = [],
  } = options;
  if (redirectToHttpsPort !== undefined && !tls && proxies === undefined)
    throw new Error("redirectToHttpsPort needs tls: there is nothing to redirect to");
  const toHttps = redirectToHttpsPort !== undefined && {
    httpsPort: redirectToHttpsPort === 443 ? "" : `:${checkNumber("redirectToHttpsPort", redirectToHttpsPort)}`,
  };
  const values: Values = {
    blueAddress: checkAddress("blue", slots.blue),
    greenAddress: checkAddress("green", slots.green),
    tls,
    // nginx reads a cookie through a variable, and variable names have no dashes.
    previewCookie: [
      "togather_preview",
      ...(options.name === undefined ? [] : [options.name.replaceAll(/[^A-Za-z0-9]/g, "_")]),
    ].join("_"),
    // A server block of its own redirects, unless the redirect depends on the request.
    redirect: proxies === undefined && toHttps,
    redirectBehindProxies: proxies !== undefined && toHttps,
    plainHttp: proxies !== undefined || redirectToHttpsPort === undefined,
    proxies: proxies && proxyValues(proxies, tls || redirectToHttpsPort !== undefined),
    internal: proxies && { internalPort },
    proxyProtocol: proxies?.proxyProtocol === true ? " proxy_protocol" : "",
    scheme: proxies === undefined ? "$scheme" : "$togather_scheme",
    hsts: proxies === undefined ? tls && { secure: "$https", on: "on" } : { secure: "$togather_scheme", on: "https" },
    closed: closedPaths.length > 0 && { pattern: `"^(${closedPaths.map(checkPath).join("|")})(/|$)"` },
    rateLimit: rateLimit && {
      requestsPerSecond: checkNumber("rateLimit.requestsPerSecond", rateLimit.requestsPerSecond),
      burst: checkNumber("rateLimit.burst", rateLimit.burst),
    },
    drainSeconds: checkNumber("drainSeconds", drainSeconds),
    connectSeconds: checkNumber("connectSeconds", connectSeconds),
    readSeconds: checkNumber("readSeconds", readSeconds),
    bodySeconds: checkNumber("bodySeconds", bodySeconds),
    maxBodyMegabytes: checkNumber("maxBodyMegabytes", maxBodyMegabytes, 1_024_000_000),
    idleSeconds: checkNumber("idleSeconds", idleSeconds),
  };
  return {
    "nginx.conf": renderTemplate(readFileSync(join(directory, "nginx.conf.template"), "utf8"), values),
    "router.js": readFileSync(join(directory, "router.js"), "utf8"),
  };
}

/**
 * nginx's settings for trusted proxies.
 * @param secure the public is served by HTTPS.
 */
function proxyValues(
  { trusted, proxyProtocol, publicHttpsPort }: TrustedProxies,
  secure: boolean,
): Record<string, string | number> {
  const networks = [...new Set(trusted)];
  for (const network of networks)
    if (ipNetwork(network) === undefined)
      throw new Error(`proxies.trusted must be addresses or networks such as 192.0.2.0/24; got "${network}"`);
  const lines = (text: (network: string) => string): string => networks.map(text).join("\n");
  return {
    realIpFrom: lines((network) => `  set_real_ip_from ${network};`),
    trustedNetworks: lines((network) => `    ${network} 1;`),
    realIpHeader: proxyProtocol ? "proxy_protocol" : "X-Forwarded-For",
    // A load balancer with PROXY protocol passes on visitors' requests unchanged: forwarding headers in them are the
    // visitors', not a proxy's.
    schemeFrom: proxyProtocol
      ? "$proxy_protocol_tlv_ssl_version:$proxy_protocol_server_port"
      : "$http_x_forwarded_proto",
    schemes: proxyProtocol
      ? `    "~^\\d+:1:.+:" https;\n    "~^\\d+:1::${checkNumber("publicHttpsPort", publicHttpsPort)}$" https;`
      : `    "~*^\\d+:1:https( *, *https)*$" https;\n    "~*^\\d+:1:http( *, *http)*$" http;`,
    internalPort,
    internalScheme: secure ? "https" : "http",
  };
}

/**
 * Fills in `{{name}}`, and keeps or removes the lines between `{{#name}}` and `{{/name}}`. The first line is about the
 * template itself.
 */
function renderTemplate(template: string, values: Values): string {
  const body = template.slice(template.indexOf("\n") + 1);
  const withSections = body.replaceAll(
    /^\{\{#(\w+)\}\}\n([\s\S]*?)^\{\{\/\1\}\}\n/gm,
    (_, name: string, lines: string) => {
      const value = lookUp(values, name);
      if (value === undefined || value === false) return "";
      return typeof value === "object" ? fillIn(lines, value) : lines;
    },
  );
  return fillIn(withSections, values);
}

function fillIn(text: string, values: Values): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = lookUp(values, name);
    if (typeof value !== "string" && typeof value !== "number")
      throw new Error(`nginx.conf.template: ${name} is a section, not a value`);
    return String(value);
  });
}

function lookUp(values: Values, name: string): Values[string] {
  if (!Object.hasOwn(values, name)) throw new Error(`nginx.conf.template: nothing is known as ${name}`);
  return values[name];
}

/** An address: a host name that does not resolve would keep nginx from starting. */
function checkAddress(slot: SlotName, address: string): string {
  const [host = "", port = "", ...rest] = address.split(":");
  if (!isIPv4(host) || !/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535 || rest.length > 0) {
    throw new Error(`${slot} must be an IPv4 address and a port, such as 10.213.3.10:8080; got "${address}"`);
  }
  return address;
}

/** A path as part of a regular expression for nginx. */
function checkPath(path: string): string {
  if (!closedPath.test(path)) throw new Error(`closedPaths must be paths such as /metrics; got "${path}"`);
  return path.replaceAll(".", "\\.");
}

function checkNumber(name: string, value: number, most = 65535): number {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new Error(`${name} must be a whole number from 1 to ${most}; got ${value}`);
  return value;
}
