/**
 * `router`, on the operator's machine: writes nginx's configuration into the router's volume and applies it to a
 * running nginx. Everything goes through the Docker client, so that it works the same with an engine behind ssh.
 */
import { createHash } from "node:crypto";
import type { StepContext } from "../contract/context.ts";
import type { StepRequest, StepResult } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import { dockerProblem, tryDocker } from "../host/docker.ts";

/** Exit codes of images/nginx/bin/router-apply and router-reload. */
const refusedByNginx = 3;
const notServing = 4;

interface ConfigurationFile {
  name: string;
  content: string;
  mode: "0600" | "0644";
}

export async function run(request: StepRequest<"router">, context: StepContext): Promise<StepResult<"router">> {
  const { image, volume, containerName } = request;
  const files = collectFiles(request.files, context.env);
  const digest = digestOf(files);
  const secure = files.some(({ name }) => name === "tls/certificate.pem");
  const docker = createDocker(context);

  // nginx reports its digest on the control socket: it shows whether the *running* nginx has this configuration, not
  // only the volume.
  files.push(...namedFiles(request.files, files, digest));
  const applied = await docker(
    [
      "run",
      "--rm",
      "--interactive",
      "--network",
      "none",
      "--volume",
      `${volume}:/router`,
      "--entrypoint",
      "router-apply",
      image,
      digest,
    ],
    encode(files),
  );
  if (applied.exitCode === refusedByNginx) throw refusal(applied.stderr, digest, files);
  if (applied.exitCode !== 0)
    throw new StepError(`the router's configuration could not be written to volume ${volume}: ${applied.stderr}`);

  const inspected = await docker(["container", "inspect", "--format", "{{.State.Status}}", containerName]);
  if (inspected.stdout !== "running") {
    if (inspected.exitCode !== 0 && !/no such container/i.test(inspected.stderr)) throw dockerProblem(inspected.stderr);
    context.log.info(`router configuration ${digest} is in place; nginx takes it when its container starts`);
    return { digest, reloaded: false };
  }

  if (secure && (await takesCertificate(docker, containerName, digest))) {
    context.log.info(`nginx serves router configuration ${digest} now, a new certificate without a reload`);
    return { digest, reloaded: false };
  }
  const reloaded = await docker(["exec", containerName, "router-reload", digest]);
  if (reloaded.exitCode !== 0) {
    throw new StepError(`nginx in ${containerName} did not take configuration ${digest}: ${reloaded.stderr}`, {
      hint: reloaded.exitCode === notServing ? `docker logs --tail 20 ${containerName}` : undefined,
    });
  }
  context.log.info(
    reloaded.stdout === "reloaded"
      ? `nginx serves router configuration ${digest} now`
      : `router configuration ${digest} is unchanged`,
  );
  return { digest, reloaded: reloaded.stdout === "reloaded" };
}

/**
 * Whether only the certificate differs from the one that nginx serves: nginx then serves the new one without a reload.
 */
async function takesCertificate(
  docker: ReturnType<typeof createDocker>,
  containerName: string,
  digest: string,
): Promise<boolean> {
  const url = "http://router/certificate";
  const put = ["--request", "PUT", "--data-binary", "@/router/conf/current/tls/certificate.json", url];
  const socket = ["--unix-socket", "/router/run/control.sock"];
  // A router of an older version answers 404, and one whose other files differ 409.
  const { exitCode, stdout } = await docker([
    ...["exec", containerName, "curl", "--silent", "--fail", "--max-time", "5"],
    ...socket,
    ...put,
  ]);
  return exitCode === 0 && (JSON.parse(stdout) as { from?: string }).from !== digest;
}

/** Adds the digest to a configuration: for nginx, and for comparison. */
function namedFiles(
  plain: Record<string, string>,
  files: readonly ConfigurationFile[],
  digest: string,
): ConfigurationFile[] {
  const filesDigest = digestOf(collectFiles(plain, {}));
  const named: ConfigurationFile[] = [
    {
      name: "digest.conf",
      content: `set $togather_configuration ${digest};\n# without certificate: ${filesDigest}\n`,
      mode: "0644",
    },
  ];
  const content = (name: string): string | undefined => files.find((file) => file.name === name)?.content;
  const [certificate, key] = [content("tls/certificate.pem"), content("tls/key.pem")];
  if (certificate !== undefined)
    named.push({
      name: "tls/certificate.json",
      content: JSON.stringify({ configuration: digest, files: filesDigest, certificate, key }),
      mode: "0600",
    });
  return named;
}

/** The request's files, and the certificate and key from the environment. */
export function collectFiles(files: Record<string, string>, env: NodeJS.ProcessEnv): ConfigurationFile[] {
  const certificate = env["TLS_CERTIFICATE"] ?? "";
  const key = env["TLS_KEY"] ?? "";
  if ((certificate === "") !== (key === "")) {
    throw new StepError(
      `the router was given ${certificate === "" ? "TLS_KEY without TLS_CERTIFICATE" : "TLS_CERTIFICATE without TLS_KEY"}`,
      {
        hint: "set both togather:tls.certificateFile and togather:tls.keyFile, or neither",
      },
    );
  }
  const collected: ConfigurationFile[] = Object.entries(files).map(([name, content]) => ({
    name,
    content,
    mode: "0644",
  }));
  if (certificate !== "") {
    collected.push(
      { name: "tls/certificate.pem", content: certificate, mode: "0644" },
      { name: "tls/key.pem", content: key, mode: "0600" },
    );
  }
  return collected.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function digestOf(files: ConfigurationFile[]): string {
  return createHash("sha256")
    .update(JSON.stringify(files.map(({ name, content, mode }) => [name, mode, content])))
    .digest("hex")
    .slice(0, 16);
}

/** The input of router-apply: base64 keeps every file on one line. */
export function encode(files: ConfigurationFile[]): string {
  const lines = files.map(({ name, content, mode }) => `${mode} ${name} ${Buffer.from(content).toString("base64")}`);
  return `${[...lines, "end"].join("\n")}\n`;
}

/** nginx's own message, with the line that it is about, and a hint. */
export function refusal(stderr: string, digest: string, files: ConfigurationFile[]): StepError {
  const words = stderr
    .split("\n")
    .filter((line) => /\[(emerg|alert|crit|error)\]/.test(line))
    .map((line) =>
      line
        .replace(/^.*?\[(emerg|alert|crit|error)\] (\d+#\d+: )?/, "")
        .replaceAll(`/router/conf/${digest}.partial/`, ""),
    )
    .filter((line, index, all) => all.indexOf(line) === index);
  const [, name = "", number = ""] = /(?: in |\()([\w.-]+):(\d+)\)?/.exec(words.join("\n")) ?? [];
  // A line of a key is never shown.
  const shown = files.find((file) => file.name === name && file.mode !== "0600")?.content.split("\n") ?? [];
  const line = shown[Number(number) - 1]?.trim();
  const about = line === undefined ? "" : `\n  ${name}:${number}: ${line}`;
  const ofTls = /key values mismatch|PEM|SSL_CTX|certificate/i.test(words.join("\n"));
  return new StepError(
    `nginx refuses the router's configuration: ${words.length === 0 ? stderr : words.join("; ")}${about}\nNothing was changed: the router serves what it served before.`,
    {
      hint: ofTls
        ? "check that togather:tls.certificateFile (the chain, the server's own certificate first) and togather:tls.keyFile are PEM and belong together"
        : "correct components/nginx/nginx.conf.template or components/nginx/router.js, then deploy again",
    },
  );
}

interface Finished {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs docker commands whose exit code matters; throws only for problems of Docker itself. */
function createDocker({ env, signal }: StepContext): (args: string[], input?: string) => Promise<Finished> {
  return async (args, input) => {
    // The certificate and the key are in `input`.
    const { exitCode, stdout, stderr } = await tryDocker(args, { env, signal, input });
    signal.throwIfAborted();
    // 125: `docker run` could not start the container.
    if (exitCode === undefined || exitCode === 125 || /docker daemon/i.test(stderr)) throw dockerProblem(stderr);
    return { exitCode, stdout, stderr };
  };
}
