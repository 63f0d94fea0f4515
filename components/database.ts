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
  /** Undefined: PostgreSQL's own default. */
  maxConnections: number | undefined;
  /** Superuser's password. */
  password: pulumi.Output<string>;
  /** The roles' passwords, derived from it. */
  passwordOf: (role: "owner" | AppRole) => pulumi.Output<string>;
  /** The role that servers log in with. */
  appRole: AppRolePlan;
  /** Pulumi refuses to delete the data. */
  protectData: boolean;
}

const databaseName = "togather";
const ownerName = "togather_owner";
const port = 5432;
/**
 * Tables of extensions in which servers keep their own rows. They belong to the superuser, who creates the extension.
 */
const extensionTables: Readonly<Partial<Record<string, readonly string[]>>> = { postgis: ["spatial_ref_sys"] };

/** The URLs of a database, bundled or external. */
export interface DatabaseUrls {
  /** DATABASE_URL of the role that migrates and makes snapshots. Secret. */
  readonly ownerUrl: pulumi.Output<string>;
  /** URL of a role that creates scratch databases and restores. Undefined: the owner's is used. Secret. */
  readonly adminUrl: pulumi.Output<string> | undefined;
  /** DATABASE_URL of the server. Secret. */
  readonly appUrl: pulumi.Output<string>;
}

/** PostgreSQL itself: its volume and its container. */
function declareServer(
  name: string,
  args: DatabaseArgs,
  parent: pulumi.Resource,
): { volume: docker.Volume; container: docker.Container } {
  const volume = new docker.Volume(
    `${name}-data`,
    { name: volumeName(args.name, "database"), labels: containerLabels(args.name, "database") },
    // Where data is protected, Pulumi refuses to delete it, and leaves it on disk even when told to forget it.
    { parent, protect: args.protectData, retainOnDelete: args.protectData },
  );
  const container = new docker.Container(
    `${name}-container`,
    {
      name: nameOf(args.name, "database"),
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
    // PostgreSQL reads the password only when it creates the data directory: a rotation is an ALTER ROLE, not a new
    // container.
    { parent, deleteBeforeReplace: true, ignoreChanges: ["envs"] },
  );
  return { volume, container };
}

/** Options of a resource inside the server. */
interface Within extends pulumi.CustomResourceOptions {
  dependsOn: pulumi.Resource[];
}

function optionsWithin(
  name: string,
  { reachableAt, password }: DatabaseArgs,
  { volume, container }: ReturnType<typeof declareServer>,
  parent: pulumi.Resource,
): Within {
  const provider = new postgresql.Provider(
    `${name}-provider`,
    {
      host: "127.0.0.1",
      port: reachableAt,
      username: "postgres",
      password,
      sslmode: "disable",
      superuser: true,
      connectTimeout: 30,
    },
    { parent },
  );
  // Objects in the volume are deleted with it: no role is dropped by itself from a database that is being deleted.
  return { parent, provider, dependsOn: [container], deletedWith: volume };
}

/** The roles: the owner, and one login role for servers, or two while a password is rotated. */
function declareRoles(
  name: string,
  { appRole: { role, kept }, passwordOf }: DatabaseArgs,
  within: Within,
): { owner: postgresql.Role; app: postgresql.Role; second: postgresql.Role[] } {
  const owner = new postgresql.Role(
    `${name}-owner`,
    { name: ownerName, login: true, password: passwordOf("owner") },
    within,
  );
  // A role whose password is an older one, which a server still uses, keeps it: otherwise each of the server's
  // connections would fail.
  const login = (one: AppRole): pulumi.CustomResourceOptions =>
    kept === one ? { ...within, ignoreChanges: ["password"] } : within;
  const [first, second] = appRoles;
  const app = new postgresql.Role(
    `${name}-app`,
    { name: first, login: true, password: passwordOf(first) },
    login(first),
  );
  if (role !== second && kept !== second) return { owner, app, second: [] };
  // It has the rights of the first one.
  const other = new postgresql.Role(
    `${name}-app-2`,
    { name: second, login: true, password: passwordOf(second), roles: [app.name] },
    login(second),
  );
  return { owner, app, second: [other] };
}

/** The extensions, with the owner's rights on their tables. */
function declareExtensions(
  name: string,
  { extensions, protectData }: DatabaseArgs,
  { owner, database }: { owner: postgresql.Role; database: postgresql.Database },
  within: Within,
): pulumi.Resource[] {
  return extensions.flatMap((extension) => {
    const made = new postgresql.Extension(
      `${name}-extension-${extension}`,
      { name: extension, database: database.name },
      { ...within, retainOnDelete: protectData },
    );
    const tables = extensionTables[extension];
    if (tables === undefined) return [made];
    const grant = new postgresql.Grant(
      `${name}-owner-${extension}`,
      {
        role: owner.name,
        database: database.name,
        schema: "public",
        objectType: "table",
        objects: [...tables],
        privileges: [...extensionTableRights],
      },
      { ...within, dependsOn: [...within.dependsOn, made] },
    );
    return [made, grant];
  });
}

/** The servers' rights on the owner's tables: rows, no schema changes. */
function declareAppRights(
  name: string,
  { owner, app, database }: { owner: postgresql.Role; app: postgresql.Role; database: postgresql.Database },
  within: Within,
): pulumi.Resource[] {
  const rights = [
    ["table", ["SELECT", "INSERT", "UPDATE", "DELETE"]],
    ["sequence", ["USAGE", "SELECT", "UPDATE"]],
  ] as const;
  return rights.map(
    ([objectType, privileges]) =>
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

/** The bundled PostgreSQL: container, volume, an owner role that migrates, an app role with DML rights only, extensions. */
export class Database extends pulumi.ComponentResource implements DatabaseUrls {
  readonly ownerUrl: pulumi.Output<string>;
  readonly appUrl: pulumi.Output<string>;
  readonly adminUrl: pulumi.Output<string>;

  constructor(name: string, args: DatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Database", name, {}, opts);
    const within = optionsWithin(name, args, declareServer(name, args, this), this);
    const { owner, app, second } = declareRoles(name, args, within);
    const database = new postgresql.Database(
      `${name}-database`,
      { name: databaseName, owner: owner.name },
      { ...within, protect: args.protectData, retainOnDelete: args.protectData },
    );
    // A resource that depends on a URL depends on the roles, extensions and rights behind it.
    const ready = [
      database,
      ...second,
      ...declareExtensions(name, args, { owner, database }, within),
      ...declareAppRights(name, { owner, app, database }, within),
    ];
    const url = (user: string, password: pulumi.Output<string>, of: string): pulumi.Output<string> =>
      pulumi.secret(
        pulumi.all([password, pulumi.all(ready.map((resource) => resource.urn))]).apply(([secret]) =>
          formatDatabaseUrl({
            host: nameOf(args.name, "database"),
            port,
            user,
            password: secret,
            database: of,
            parameters: { sslmode: "disable" },
          }),
        ),
      );
    const { role } = args.appRole;
    this.ownerUrl = url(ownerName, args.passwordOf("owner"), databaseName);
    this.adminUrl = url("postgres", args.password, "postgres");
    this.appUrl = url(role, args.passwordOf(role), databaseName);
    this.registerOutputs({ ownerUrl: this.ownerUrl, appUrl: this.appUrl });
  }
}
