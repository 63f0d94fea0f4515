/** Properties of a deployment that decide which secrets it needs. */
export interface Wanted {
  database: "bundled" | "external";
  /** Snapshots are copied to a storage. */
  snapshotCopy: boolean;
  /** Variables of every server's secrets that this one doesn't read. */
  unread: readonly string[];
}

/** A secret of a deployment. */
export interface SecretRow {
  /** Its name in the environment and in the secrets file. */
  variable: string;
  /** Minimum length: the server's own rules for its two, the reference's advice for the database's. */
  characters: number;
  bits: number;
  /** A command that makes one. */
  example: string;
  needed: (deployment: Wanted) => "required" | "optional" | "unused";
  /**
   * The effect of a line break or blanks around it, which nobody means: it never works, may work, or makes no
   * difference.
   */
  untrimmed: "refused" | "warned" | "ignored";
  /**
   * The part whose strength counts: the value, or a URL's password. `given`: made by somebody else, so that nothing is
   * required.
   */
  strength: "value" | "url-password" | "given";
  /** The server refuses a shorter one in every environment. */
  serverRefusesShort?: boolean;
}

const read =
  (variable: string) =>
  ({ unread }: Wanted) =>
    unread.includes(variable) ? "unused" : "required";
const ofExternal =
  (need: "required" | "optional") =>
  ({ database }: Wanted) =>
    database === "external" ? need : "unused";
const ofCopies = ({ snapshotCopy }: Wanted) => (snapshotCopy ? "required" : "optional");
const url = { characters: 16, bits: 46, untrimmed: "ignored", strength: "url-password" } as const;

/**
 * The secrets of a deployment by their key in the stack's config. A new secret needs a row here, and code that uses it.
 */
export const secretTable = {
  jwtSecret: {
    variable: "JWT_SECRET",
    characters: 32,
    bits: 80,
    example: "$(openssl rand -base64 32)",
    needed: read("JWT_SECRET"),
    // The text of a key file has several lines, and ends with a line break.
    untrimmed: "warned",
    strength: "value",
    serverRefusesShort: true,
  },
  adminApiKey: {
    variable: "ADMIN_API_KEY",
    characters: 32,
    bits: 80,
    example: "$(openssl rand -hex 32)",
    needed: read("ADMIN_API_KEY"),
    untrimmed: "refused",
    strength: "value",
  },
  databasePassword: {
    variable: "DATABASE_PASSWORD",
    characters: 16,
    bits: 46,
    example: "$(openssl rand -hex 24)",
    needed: ({ database }) => (database === "bundled" ? "required" : "unused"),
    untrimmed: "refused",
    strength: "value",
  },
  databaseUrl: {
    ...url,
    variable: "DATABASE_URL",
    example: "postgresql://user:…@host:5432/database?sslmode=require",
    needed: ofExternal("required"),
  },
  migrationDatabaseUrl: {
    ...url,
    variable: "MIGRATION_DATABASE_URL",
    example: "postgresql://owner:…@host:5432/database?sslmode=require",
    needed: ofExternal("optional"),
  },
  databaseAdminUrl: {
    ...url,
    variable: "DATABASE_ADMIN_URL",
    example: "postgresql://admin:…@host:5432/postgres?sslmode=require",
    needed: ofExternal("optional"),
  },
  snapshotIdentity: {
    variable: "SNAPSHOT_IDENTITY",
    characters: 74,
    bits: 80,
    example: "$(age-keygen | tail -n 1)",
    needed: () => "optional",
    untrimmed: "ignored",
    strength: "given",
  },
  snapshotCopyKeyId: {
    variable: "SNAPSHOT_COPY_KEY_ID",
    characters: 1,
    bits: 0,
    example: "the access key id that the storage gave you",
    needed: ofCopies,
    untrimmed: "refused",
    strength: "given",
  },
  snapshotCopySecret: {
    variable: "SNAPSHOT_COPY_SECRET",
    characters: 1,
    bits: 0,
    example: "the secret access key that the storage gave you",
    needed: ofCopies,
    untrimmed: "refused",
    strength: "given",
  },
} as const satisfies Record<string, SecretRow>;

/** A secret's key in the stack's config. */
export type SecretKey = keyof typeof secretTable;
/** Keys whose values Pulumi keeps encrypted. */
export const secretKeys = Object.keys(secretTable) as SecretKey[];
/** A secret's row, with the type of all rows. */
export const secretRow = (key: SecretKey): SecretRow => secretTable[key];

/** A secret's name in the environment and secrets file, by its key in the stack's config. */
export const secretNames = Object.fromEntries(secretKeys.map((key) => [key, secretTable[key].variable])) as {
  readonly [K in SecretKey]: (typeof secretTable)[K]["variable"];
};

/** The secrets that a deployment with the bundled database needs; anybody can make them up. */
export const bundledSecrets = ["jwtSecret", "adminApiKey", "databasePassword"] as const satisfies SecretKey[];
