import { containerName as nameOf, volumeName } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";
import { formatDatabaseUrl } from "../ops/contract/connection.ts";
import { databaseCommand } from "../ops/host/database-container.ts";
import { extensionTableRights } from "../ops/contract/extension-table-rights.ts";
import { appRoles, type AppRole, type AppRolePlan } from "../config/app-role.ts";
import { containerLabels, containerLogging } from "./host.ts";

export interface DatabaseArgs {
  /** The deployment's name. */
  name: string;
  imageId: pulumi.Input<string>;
  networkName: pulumi.Input<string>;
  /** Fixed address in the private network. */
  address: string;
  /** Port on the host's loopback, for people. */
  loopbackPort: number;
  /** Port on the loopback of the machine that runs Pulumi, through which roles and extensions are declared. */
  reachableAt: number;
  extensions: readonly string[];
  /** PostgreSQL's own default where it is undefined. */
  maxConnections: number | undefined;
  /** Superuser's password. */
  password: pulumi.Output<string>;
  /** The roles' passwords, derived from it. */
  passwordOf: (role: "owner" | AppRole) => pulumi.Output<string>;
  /** As which role servers log in. */
  appRole: AppRolePlan;
  /** Pulumi refuses to delete the data. */
  protectData: boolean;
}

const databaseName = "togather";
const port = 5432;
/** Tables of extensions in which servers keep rows of their own. They are the superuser's, who makes the extension. */
const extensionTables: Readonly<Partial<Record<string, readonly string[]>>> = { postgis: ["spatial_ref_sys"] };

/** How a database is reached, whoever runs it. */
export interface DatabaseUrls {
  /** DATABASE_URL of the role that migrates and makes snapshots. Secret. */
  readonly ownerUrl: pulumi.Output<string>;
  /** URL of a role that makes scratch databases and restores; undefined where the owner's has to do. Secret. */
  readonly adminUrl: pulumi.Output<string> | undefined;
  /** DATABASE_URL of the server. Secret. */
  readonly appUrl: pulumi.Output<string>;
}

/** The bundled PostgreSQL: container, volume, an owner role that migrates, an app role with DML rights only, extensions. */
export class Database extends pulumi.ComponentResource implements DatabaseUrls {
  readonly ownerUrl: pulumi.Output<string>;
  readonly appUrl: pulumi.Output<string>;
  readonly adminUrl: pulumi.Output<string>;

  constructor(name: string, args: DatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Database", name, {}, opts);
    const containerName = nameOf(args.name, "database");
    const volume = new docker.Volume(
      `${name}-data`,
      { name: volumeName(args.name, "database"), labels: containerLabels(args.name, "database") },
      // Where data is protected, Pulumi refuses to delete it, and leaves it on disk even when it is told to forget it.
      { parent: this, protect: args.protectData, retainOnDelete: args.protectData },
    );
    const container = new docker.Container(
      `${name}-container`,
      {
        name: containerName,
        image: args.imageId,
        labels: containerLabels(args.name, "database"),
        envs: [pulumi.interpolate`POSTGRES_PASSWORD=${args.password}`],
        ...(args.maxConnections === undefined ? {} : { command: databaseCommand(args.maxConnections) }),
        volumes: [{ volumeName: volume.name, containerPath: "/var/lib/postgresql/data" }],
        networksAdvanced: [{ name: args.networkName, ipv4Address: args.address }],
        ports: [{ internal: port, external: args.loopbackPort, ip: "127.0.0.1" }],
        restart: "unless-stopped",
        shmSize: 256,
        // A fast shutdown of a busy server writes a checkpoint first.
        destroyGraceSeconds: 120,
        stopTimeout: 120,
        wait: true,
        waitTimeout: 180,
        ...containerLogging,
      },
      // PostgreSQL reads the password only when it makes the volume: a rotation is an ALTER ROLE, not a new container.
      { parent: this, deleteBeforeReplace: true, ignoreChanges: ["envs"] },
    );
    const provider = new postgresql.Provider(
      `${name}-provider`,
      {
        host: "127.0.0.1",
        port: args.reachableAt,
        username: "postgres",
        password: args.password,
        sslmode: "disable",
        superuser: true,
        connectTimeout: 30,
      },
      { parent: this },
    );
    // What lives in the volume goes with it: nothing is dropped role by role from a database that is being deleted.
    const within: pulumi.CustomResourceOptions = {
      parent: this,
      provider,
      dependsOn: [container],
      deletedWith: volume,
    };
    const ownerPassword = args.passwordOf("owner");
    const owner = new postgresql.Role(
      `${name}-owner`,
      { name: "togather_owner", login: true, password: ownerPassword },
      within,
    );
    const { role: appRole, kept } = args.appRole;
    // A role that a server logs in as with an older password keeps that: each of its connections would fail otherwise.
    const login = (role: AppRole): pulumi.CustomResourceOptions =>
      kept === role ? { ...within, ignoreChanges: ["password"] } : within;
    const [first, second] = appRoles;
    const app = new postgresql.Role(
      `${name}-app`,
      { name: first, login: true, password: args.passwordOf(first) },
      login(first),
    );
    const database = new postgresql.Database(
      `${name}-database`,
      { name: databaseName, owner: owner.name },
      { ...within, protect: args.protectData, retainOnDelete: args.protectData },
    );
    const ready: pulumi.Resource[] = [database];
    if (appRole === second || kept === second) {
      // Its rights are those of the first one.
      ready.push(
        new postgresql.Role(
          `${name}-app-2`,
          { name: second, login: true, password: args.passwordOf(second), roles: [app.name] },
          login(second),
        ),
      );
    }
    for (const extension of args.extensions) {
      const made = new postgresql.Extension(
        `${name}-extension-${extension}`,
        { name: extension, database: database.name },
        { ...within, retainOnDelete: args.protectData },
      );
      ready.push(made);
      const tables = extensionTables[extension];
      if (tables === undefined) continue;
      ready.push(
        new postgresql.Grant(
          `${name}-owner-${extension}`,
          {
            role: owner.name,
            database: database.name,
            schema: "public",
            objectType: "table",
            objects: [...tables],
            privileges: [...extensionTableRights],
          },
          { ...within, dependsOn: [container, made] },
        ),
      );
    }
    for (const [objectType, privileges] of [
      ["table", ["SELECT", "INSERT", "UPDATE", "DELETE"]],
      ["sequence", ["USAGE", "SELECT", "UPDATE"]],
    ] as const) {
      ready.push(
        new postgresql.DefaultPrivileges(
          `${name}-app-${objectType}s`,
          {
            role: app.name,
            owner: owner.name,
            database: database.name,
            schema: "public",
            objectType,
            privileges: [...privileges],
          },
          within,
        ),
      );
    }
    const url = (role: string, password: pulumi.Output<string>, database: string): pulumi.Output<string> =>
      pulumi.secret(
        // What depends on the URL depends on the roles, extensions and rights behind it.
        pulumi.all([password, pulumi.all(ready.map((resource) => resource.urn))]).apply(([secret]) =>
          formatDatabaseUrl({
            host: containerName,
            port,
            user: role,
            password: secret,
            database,
            parameters: { sslmode: "disable" },
          }),
        ),
      );
    this.ownerUrl = url("togather_owner", ownerPassword, databaseName);
    this.adminUrl = url("postgres", args.password, "postgres");
    this.appUrl = url(appRole, args.passwordOf(appRole), databaseName);
    this.registerOutputs({ ownerUrl: this.ownerUrl, appUrl: this.appUrl });
  }
}
