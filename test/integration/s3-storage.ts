/** A real S3-compatible server on a Docker network, for copies of snapshots. */
import { join } from "node:path";
import { execa } from "execa";
import { bundledImageTag } from "../../ops/image.ts";
import { networkVariables } from "../../ops/client/network-variables.ts";
import { docker } from "../step-harness.ts";

const image = "togather-test-s3-server";

/** The server's credentials, under the names of a deployment's variables. */
export interface StorageCredentials {
  SNAPSHOT_COPY_KEY_ID: string;
  SNAPSHOT_COPY_SECRET: string;
}

/** The server in its container. It has one bucket, `backups`. */
export class S3Storage {
  readonly container: string;
  /** On the Docker network that it was started in. */
  readonly endpoint: string;
  private readonly network: string;
  private readonly credentials: StorageCredentials;

  private constructor(container: string, network: string, credentials: StorageCredentials) {
    this.container = container;
    this.endpoint = `http://${container}:9000`;
    this.network = network;
    this.credentials = credentials;
  }

  /** Builds the server where there is none, and starts it. */
  static async start(container: string, network: string, credentials: StorageCredentials): Promise<S3Storage> {
    const storage = new S3Storage(container, network, credentials);
    const variables = Object.entries(networkVariables(process.env)).flatMap(([name, value]) => [
      "--build-arg",
      `${name}=${value}`,
    ]);
    await docker("build", "--quiet", "--tag", image, ...variables, join(import.meta.dirname, "../s3-server"));
    await docker(
      "run",
      "--detach",
      `--name=${container}`,
      `--network=${network}`,
      "--env",
      `ROOT_ACCESS_KEY=${credentials.SNAPSHOT_COPY_KEY_ID}`,
      "--env",
      `ROOT_SECRET_KEY=${credentials.SNAPSHOT_COPY_SECRET}`,
      image,
    );
    await storage.inside("mkdir", "/data/backups");
    return storage;
  }

  /** The output of a command in its container. */
  async inside(...command: string[]): Promise<string> {
    return docker("exec", this.container, ...command);
  }

  /** An object of the bucket, asked for by another client than the one that wrote it: curl, with its own signing. */
  async read(key: string): Promise<Uint8Array> {
    const { SNAPSHOT_COPY_KEY_ID: id, SNAPSHOT_COPY_SECRET: secret } = this.credentials;
    const curl = [
      "--silent",
      "--fail",
      "--aws-sigv4",
      "aws:amz:us-east-1:s3",
      "--user",
      `${id}:${secret}`,
      `${this.endpoint}/backups/${key}`,
    ];
    return (
      await execa(
        "docker",
        ["run", "--rm", `--network=${this.network}`, "--entrypoint=curl", bundledImageTag("nginx"), ...curl],
        { encoding: "buffer", stripFinalNewline: false },
      )
    ).stdout;
  }

  async stop(): Promise<void> {
    await docker("stop", "--time", "1", this.container);
  }

  /** Again, after a stop. */
  async restart(): Promise<void> {
    await docker("start", this.container);
  }

  async remove(): Promise<void> {
    await execa("docker", ["rm", "--force", "--volumes", this.container], { reject: false });
  }
}
