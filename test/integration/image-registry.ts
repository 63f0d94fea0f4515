import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { execa } from "execa";
import type { DockerHost } from "./docker-host.ts";

const digest = (content: Buffer): string => `sha256:${createHash("sha256").update(content).digest("hex")}`;

/**
 * An image registry that another machine reaches on its own loopback, which engines trust without TLS: the part of the
 * protocol that a pull by digest needs.
 */
export class ImageRegistry {
  /** The address for the other machine's engine. */
  readonly address: string;
  readonly #server: Server;
  readonly #contents: Map<string, { type: string; content: Buffer }>;
  readonly #tunnel: AbortController;

  private constructor(
    address: string,
    server: Server,
    contents: Map<string, { type: string; content: Buffer }>,
    tunnel: AbortController,
  ) {
    this.address = address;
    this.#server = server;
    this.#contents = contents;
    this.#tunnel = tunnel;
  }

  static async start(host: DockerHost): Promise<ImageRegistry> {
    const contents = new Map<string, { type: string; content: Buffer }>();
    const server = createServer((request, response) => {
      const found = contents.get(request.url?.split("/").at(-1) ?? "");
      if (request.url === "/v2/") response.writeHead(200).end();
      else if (found === undefined) response.writeHead(404).end();
      else {
        const { type, content } = found;
        response.writeHead(200, {
          "content-type": type,
          "content-length": content.length,
          "docker-content-digest": digest(content),
        });
        response.end(request.method === "HEAD" ? undefined : content);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const tunnel = new AbortController();
    const address = "127.0.0.1:5999";
    void execa(
      "ssh",
      ["-N", "-o", "ExitOnForwardFailure=yes", "-R", `${address}:127.0.0.1:${port}`, "root@events.test"],
      {
        env: host.environment,
        cancelSignal: tunnel.signal,
        reject: false,
      },
    );
    return new ImageRegistry(address, server, contents, tunnel);
  }

  /** Puts an image in. @returns its name by digest. */
  add(name: string): string {
    // A tar's end: a layer without files.
    const layer = Buffer.alloc(1024);
    const packed = gzipSync(layer);
    const config = Buffer.from(
      JSON.stringify({
        architecture: "amd64",
        os: "linux",
        config: { Labels: { name } },
        rootfs: { type: "layers", diff_ids: [digest(layer)] },
      }),
    );
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: "application/vnd.docker.distribution.manifest.v2+json",
        config: {
          mediaType: "application/vnd.docker.container.image.v1+json",
          size: config.length,
          digest: digest(config),
        },
        layers: [
          {
            mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
            size: packed.length,
            digest: digest(packed),
          },
        ],
      }),
    );
    for (const content of [config, packed])
      this.#contents.set(digest(content), { type: "application/octet-stream", content });
    this.#contents.set(digest(manifest), {
      type: "application/vnd.docker.distribution.manifest.v2+json",
      content: manifest,
    });
    return `${this.address}/${name}@${digest(manifest)}`;
  }

  stop(): void {
    this.#tunnel.abort();
    this.#server.close();
  }
}
