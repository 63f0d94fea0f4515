/**
 * A node in the form that deploy.sh makes: PostgreSQL 16 whose role is a superuser, a slot, and Caddy as a service of
 * systemd.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { NodeNames } from "../../cli/adopt/node.ts";
import { bundledImageTag } from "../../ops/image.ts";
import { docker, eventually } from "../step-harness.ts";
import { serverPrograms } from "./postgres-programs.ts";
import { freePort } from "./addresses.ts";

const hostImage = "togather-test-old-node";

export class OldNode {
  readonly id = `togather-test-old-${randomBytes(4).toString("hex")}`;
  readonly directory = mkdtempSync(join(tmpdir(), "togather-old-node-"));
  readonly network = `${this.id}-net`;
  /** The machine on which Caddy runs. */
  readonly machine = `${this.id}-host`;
  readonly password = `c4n4ry${randomBytes(12).toString("hex")}$'#`;
  readonly secrets = {
    JWT_SECRET: `canary${randomBytes(24).toString("hex")}`,
    ADMIN_API_KEY: `canary${randomBytes(24).toString("hex")}`,
  };
  readonly names: NodeNames = {
    database: `${this.id}-db`,
    slots: { blue: `${this.id}-server-blue`, green: `${this.id}-server-green` },
    environmentFile: join(this.directory, "env"),
    caddyfile: join(this.directory, "Caddyfile"),
    caddyData: join(this.directory, "caddy"),
  };
  /** Of the slot that serves. */
  slotPort = 0;

  /** @param server image of the server that serves. @param ports the public ones. */
  async start(server: string, migrations: string, ports: { http: number; https: number }): Promise<void> {
    await docker("network", "create", this.network);
    await this.startDatabase(migrations);
    this.writeEnvironment(this.password);
    this.slotPort = await freePort();
    const variables = { ...this.secrets, PORT: "8080", SLOT: "green", DATABASE_URL: this.url };
    await execa(
      "docker",
      [
        "run",
        "--detach",
        `--name=${this.names.slots.green}`,
        "--restart=always",
        `--network=${this.network}`,
        `--publish=127.0.0.1:${this.slotPort}:8080`,
        ...Object.keys(variables).map((name) => `--env=${name}`),
        server,
      ],
      { env: variables },
    );
    await this.startCaddy(ports);
    await eventually("the old node", async () => (await this.get(ports.https)).status === 200);
  }

  private get url(): string {
    return `postgresql://togather:${encodeURIComponent(this.password)}@${this.names.database}:5432/togather?sslmode=disable`;
  }

  private async startDatabase(migrations: string): Promise<void> {
    const programs = await serverPrograms("16.14.0-beta.17");
    // In a volume, as there: it is stopped and started.
    const script = `set -e; mkdir -p /data/pg; chown -R nobody /data; export LD_LIBRARY_PATH=/pg/lib; as="setpriv --reuid=nobody --regid=nogroup --clear-groups"
      printf %s "$POSTGRES_PASSWORD" > /tmp/password; chown nobody /tmp/password
      test -e /data/pg/PG_VERSION || { $as /pg/bin/initdb --pgdata=/data/pg --username=togather --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 > /dev/null; echo "host all all all scram-sha-256" >> /data/pg/pg_hba.conf; }
      exec $as /pg/bin/postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off`;
    const variables = { POSTGRES_USER: "togather", POSTGRES_DB: "togather", POSTGRES_PASSWORD: this.password };
    await execa(
      "docker",
      [
        "run",
        "--detach",
        `--name=${this.names.database}`,
        "--restart=unless-stopped",
        `--network=${this.network}`,
        "--env=PGHOST=/tmp",
        ...Object.keys(variables).map((name) => `--env=${name}`),
        "--volume=/data",
        `--volume=${programs}:/pg:ro`,
        "--entrypoint=sh",
        bundledImageTag("ops"),
        "-c",
        script,
      ],
      { env: variables },
    );
    await eventually("PostgreSQL 16", () => this.sql("SELECT 1", "postgres"));
    await this.sql("CREATE DATABASE togather", "postgres");
    const tool = (program: string, ...args: string[]) =>
      execa(
        "docker",
        [
          "run",
          "--rm",
          `--network=${this.network}`,
          "--env=DATABASE_URL",
          "--env=PGPASSWORD",
          `--volume=${migrations}:/migrations:ro`,
          `--entrypoint=${program}`,
          bundledImageTag("ops"),
          ...args,
        ],
        { env: { DATABASE_URL: this.url, PGPASSWORD: this.password } },
      );
    await tool(
      "migrate",
      "-path",
      "/migrations",
      "-database",
      `pgx5://togather@${this.names.database}:5432/togather?sslmode=disable`,
      "up",
    );
    await tool("river-migrate");
  }

  /**
   * Writes the environment file in shell syntax.
   * @param password of the database.
   */
  writeEnvironment(password: string): void {
    const { JWT_SECRET, ADMIN_API_KEY } = this.secrets;
    const quoted = password.replaceAll("'", String.raw`'\''`);
    const lines = [
      "# The old node's",
      `POSTGRES_USER=togather`,
      `POSTGRES_PASSWORD='${quoted}'`,
      "POSTGRES_DB=togather",
      'DATABASE_URL="postgresql://${POSTGRES_USER}:${POSTGRES_PASSWORD}@togather-db:5432/${POSTGRES_DB}?sslmode=disable"',
      `JWT_SECRET=${JWT_SECRET}   # signs tokens`,
      `export ADMIN_API_KEY="${ADMIN_API_KEY}"`,
      "SECONDS_LEFT=2",
      'SHUTDOWN_TIMEOUT="${SECONDS_LEFT}5"',
      "METRICS_PORT=9090",
      "LOG_LEVEL=",
    ];
    writeFileSync(join(this.directory, "real-env"), `${lines.join("\n")}\n`, { mode: 0o600 });
    rmSync(this.names.environmentFile, { force: true });
    // As for deploy.sh: its environment file is a link.
    symlinkSync(join(this.directory, "real-env"), this.names.environmentFile);
  }

  private async startCaddy({ http, https }: { http: number; https: number }): Promise<void> {
    await execa("docker", ["build", "--quiet", "--tag", hostImage, join(import.meta.dirname, "../old-node")]);
    writeFileSync(
      this.names.caddyfile,
      `{\n  admin off\n  http_port ${http}\n  https_port ${https}\n  skip_install_trust\n}\nlocalhost {\n  tls internal\n  # reverse_proxy localhost:1\n  reverse_proxy localhost:${this.slotPort} {\n    health_uri /health\n  }\n}\n`,
    );
    mkdirSync(this.names.caddyData);
    chmodSync(this.names.caddyData, 0o777);
    await docker(
      ...[
        "run",
        "--detach",
        `--name=${this.machine}`,
        "--network=host",
        "--cap-add=ALL",
        "--cap-drop=SYS_RESOURCE",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--tmpfs=/run",
        "--tmpfs=/tmp",
      ],
      ...[
        `--volume=${this.names.caddyfile}:/etc/caddy/Caddyfile:ro`,
        `--volume=${this.names.caddyData}:/var/lib/caddy/.local/share/caddy`,
        hostImage,
      ],
    );
  }

  /** In the old database, as its superuser. */
  sql(statement: string, database = "togather"): Promise<string> {
    return docker(
      "exec",
      this.names.database,
      "psql",
      "-X",
      "-U",
      "togather",
      "-d",
      database,
      "-v",
      "ON_ERROR_STOP=1",
      "-At",
      "-c",
      statement,
    );
  }

  /** The public's answer. */
  async get(port: number): Promise<{ status: number; slot: string; certificate: string }> {
    const { stdout } = await execa(
      "curl",
      [
        "--silent",
        "--insecure",
        "--resolve",
        `localhost:${port}:127.0.0.1`,
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %header{x-togather-slot} %{certs}",
        `https://localhost:${port}/health`,
      ],
      { reject: false },
    );
    const [status = "0", slot = "", ...certificate] = stdout.split(" ");
    return { status: Number(status), slot, certificate: certificate.join(" ") };
  }

  /** Whether Caddy runs, and whether it starts with its machine. */
  async caddy(): Promise<string> {
    const ask = (what: string): Promise<string> =>
      execa("docker", ["exec", this.machine, "systemctl", what, "caddy"], { reject: false }).then(
        ({ stdout }) => stdout,
      );
    return `${await ask("is-active")} ${await ask("is-enabled")}`;
  }

  /** State of its containers: database, slot. */
  async states(): Promise<string> {
    return (
      await docker(
        "inspect",
        "--format={{.State.Status}}:{{.HostConfig.RestartPolicy.Name}}",
        this.names.database,
        this.names.slots.green,
      )
    ).replace("\n", " ");
  }

  async remove(): Promise<void> {
    await execa(
      "docker",
      ["rm", "--force", "--volumes", this.machine, this.names.database, ...Object.values(this.names.slots)],
      { reject: false },
    );
    await execa("docker", ["network", "rm", this.network], { reject: false });
    // Caddy's files belong to a user of its machine.
    await execa(
      "docker",
      [
        "run",
        "--rm",
        `--volume=${this.directory}:/directory`,
        "--entrypoint=sh",
        bundledImageTag("ops"),
        "-c",
        "rm -rf /directory/caddy",
      ],
      { reject: false },
    );
    rmSync(this.directory, { recursive: true, force: true });
  }
}
