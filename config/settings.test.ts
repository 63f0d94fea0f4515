import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadSettings, type Settings } from "./settings.ts";
import { forStack, SettingsError } from "./problems.ts";
import { rolloutOf } from "./schema/rollout.ts";
import { revealed, type Revealed } from "../test/revealed.ts";
import { certificatePair } from "../test/certificate-pair.ts";

const commit = "1111111111111111111111111111111111111111";
const secrets = {
  JWT_SECRET: "Xq4vT9mZk2RbW7nLd5HsJc8Yp3Fg6AeQ",
  ADMIN_API_KEY: "f3K8wPz6QyVt1NgBh7UeMx2DaRj4Sc9L",
  DATABASE_PASSWORD: "r5TcG9aJv4LkXw2b",
};

/** A secret that nothing else uses. */
const strong = (): string => randomBytes(32).toString("base64url");

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-settings-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

function load(config: Record<string, unknown>, environment: NodeJS.ProcessEnv = secrets): Revealed<Settings> {
  const texts = Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
  );
  return revealed(loadSettings({ config: texts, environment, projectDirectory: directory }));
}

/** The problems found, as `where: what`. Fails the test when there are none. */
function problems(config: Record<string, unknown>, environment: NodeJS.ProcessEnv = secrets): string[] {
  try {
    load(config, environment);
  } catch (error) {
    if (error instanceof SettingsError)
      return error.problems.map(({ where, what, fix }) => `${where}: ${what}${fix === undefined ? "" : ` -> ${fix}`}`);
    throw error;
  }
  throw new Error("the settings were accepted");
}

const staging = { environment: "staging", slots: { blue: { version: "v1.0.0", commit } } };
/** Development has no slots. Its source is in the project's directory. */
const inDevelopment = { environment: "development", source: { module: ".", migrations: "." } };

describe("a fix", () => {
  it("names the stack in each of its commands, once", () => {
    expect(
      forStack('pulumi config set --secret togather:jwtSecret "x"; or pulumi config rm togather:tls', "production"),
    ).toBe(
      'pulumi config set --stack production --secret togather:jwtSecret "x"; or pulumi config rm --stack production togather:tls',
    );
    expect(forStack(forStack("pulumi config set togather:force true", "acme/togather/production"), "other")).toBe(
      "pulumi config set --stack acme/togather/production togather:force true",
    );
  });
});

describe("defaults", () => {
  it("are the reference's", () => {
    const settings = load(staging);
    expect(settings.deployment).toEqual({
      deployment: {
        strategy: "blue-green",
        health_check_retries: 30,
        health_check_interval: 2,
        grace_period: 10,
        post_switch_checks: "auto",
        failure_command: null,
      },
      database: {
        snapshot_retention: 7,
        snapshot_keep_verified: 2,
        snapshot_format: "sql.gz",
        snapshot_recipients: [],
        snapshot_copy: null,
        snapshot_verify: "auto",
        migration_rehearsal: "auto",
        serving_release_check: "auto",
        backup_location: "/var/backups/togather",
      },
      logging: { location: "/var/log/togather/deployments", retention: 100 },
      images: { retention: 3 },
      state: { location: "/var/lib/togather" },
    });
    expect(settings).toMatchObject({
      name: "staging",
      activeSlot: "blue",
      ports: { http: 80, https: 443 },
      slotPorts: { blue: 8080, green: 8081 },
    });
  });

  it("give each name a network of its own, and fixed addresses in it", () => {
    expect(load(staging).network.subnet).toMatch(/^10\.213\.\d+\.0\/24$/);
    expect(load({ ...staging, subnet: "10.9.8.0/24" }).addresses).toEqual({
      router: "10.9.8.2",
      blue: "10.9.8.10",
      green: "10.9.8.11",
      database: "10.9.8.20",
    });
    expect(load({ ...staging, name: "a" }).network.subnet).not.toBe(load({ ...staging, name: "b" }).network.subnet);
  });

  it("keep the fixed addresses out of the range that Docker hands out", () => {
    const { addresses, network } = load({ ...staging, subnet: "10.9.8.0/24" });
    expect(network).toEqual({ subnet: "10.9.8.0/24", gateway: "10.9.8.1", dynamicRange: "10.9.8.128/25" });
    for (const address of Object.values<string>({ ...addresses }))
      expect(Number(address.split(".").at(-1))).toBeLessThan(128);
  });

  it("the repository's deployment.yml says the same as having none", async () => {
    const { readFileSync } = await import("node:fs");
    writeFileSync(join(directory, "deployment.yml"), readFileSync(join(import.meta.dirname, "../deployment.yml")));
    const withFile = load(staging).deployment;
    rmSync(join(directory, "deployment.yml"));
    expect(withFile).toEqual(load(staging).deployment);
  });
});

describe("bad settings", () => {
  it("are all told at once, with key, finding and fix", () => {
    const found = problems({ environment: "prod", activSlot: "green", databasePort: "x", name: "Upper" });
    expect(found).toEqual([
      expect.stringContaining('togather:environment: expected production, staging or development, found "prod"'),
      expect.stringContaining("togather:name: expected lower-case letters"),
      expect.stringContaining("togather:databasePort:"),
      expect.stringContaining("togather:activSlot: is not a setting -> did you mean activeSlot?"),
    ]);
  });

  it.each([
    [
      { slots: { blue: { version: "v1", comit: commit } } },
      /togather:slots\.blue: expected \{ version: v1\.2\.3, commit/,
    ],
    [{ slots: { blue: { version: "v1", commit: 1234567 } } }, /quote what YAML would take for a number/],
    [{ slots: { red: { version: "v1", commit } } }, /togather:slots\.red: is not a setting/],
    [{ slots: {} }, /togather:activeSlot: blue is to serve, but togather:slots\.blue holds no release/],
    [{ activeSlot: "green" }, /togather:activeSlot: green is to serve/],
    [{ activeSlot: "teal" }, /togather:activeSlot: /],
    [{ router: { closedPaths: ["/metrics/"] } }, /togather:router\.closedPaths\.0: expected a path such as \/metrics/],
    [
      { router: { closedPaths: ["/health"] } },
      /togather:router\.closedPaths: \/health is closed, and the health endpoint \/health with it/,
    ],
    [
      { router: { trustedProxies: ["cloudflare"] } },
      /togather:router\.trustedProxies\.0: expected an address or a network such as 192\.0\.2\.10/,
    ],
    [{ router: { trustedProxies: ["0.0.0.0/0"] } }, /togather:router\.trustedProxies\.0: .* not one for everybody/],
    [{ router: { proxyProtocol: true } }, /togather:router\.proxyProtocol: is true, and no proxy is trusted/],
    [
      { subnet: "10.213.7.0/24", listenAddress: "0.0.0.0, ::", router: { trustedProxies: ["10.0.0.0/8"] } },
      /togather:router\.trustedProxies: has 10\.213\.7\.1 in it, as which Docker passes on every IPv6 connection to ::/,
    ],
    [{ router: { closedPath: [] } }, /togather:router\.closedPath: is not a setting -> did you mean closedPaths\?/],
    [{ router: { maxBodySize: "32" } }, /togather:router\.maxBodySize: expected a size such as 256m or 1g/],
    [
      { router: { serverTimeout: "2h" } },
      /togather:router\.serverTimeout: expected a time such as 30s, 5m or 1h, at most 1h/,
    ],
    [{ router: { clientTimeout: "1500ms" } }, /togather:router\.clientTimeout: expected whole seconds, one at least/],
    [{ router: { idleTimeout: "500ms" } }, /togather:router\.idleTimeout: expected /],
    [{ router: { reloadTimeout: "0s" } }, /togather:router\.reloadTimeout: expected whole seconds, one at least/],
    [{ listenAddress: "0.0.0.0, example.org" }, /togather:listenAddress: expected an address, or several with commas/],
    [{ listenAddress: "0.0.0.0, 127.0.0.1" }, /togather:listenAddress: 0\.0\.0\.0 stands for every IPv4 address/],
    [{ listenAddress: "::1, ::" }, /togather:listenAddress: 0\.0\.0\.0 stands for every IPv4 address and ::/],
    [{ listenAddress: "0.0.0.0," }, /togather:listenAddress: expected an address/],
    [{ subnet: "10.0.0.0/8" }, /togather:subnet: expected an IPv4 network/],
    [{ host: "deploy@example.org" }, /togather:host: expected ssh:\/\//],
    [{ ports: { http: 8080 } }, /togather:slotPorts\.blue: port 8080 is already togather:ports\.http/],
    [
      { tls: { certificateFile: "none.pem", keyFile: "none.pem" } },
      /togather:tls\.certificateFile: none\.pem does not exist/,
    ],
    [
      { deployment: { database: { snapshot_retension: 3 } } },
      /togather:deployment\.database\.snapshot_retension: is not a setting -> did you mean snapshot_retention\?/,
    ],
    [{ deployment: { database: { snapshot_retention: 0 } } }, /togather:deployment\.database\.snapshot_retention: /],
    [{ deployment: { deployment: { strategy: "rolling" } } }, /expected blue-green, the only strategy there is/],
    [{ deployment: { database: { backup_location: "backups" } } }, /expected an absolute path on the Docker host/],
  ])("%j", (change, expected) => {
    expect(problems({ ...staging, ...change }).join("\n")).toMatch(expected);
  });

  it("of deployment.yml can be taken away by a stack", () => {
    const copy = "snapshot_copy: { endpoint: https://s3.example.org, bucket: production, prefix: node/ }";
    writeFileSync(join(directory, "deployment.yml"), `database:\n  ${copy}\n  snapshot_retention: 30\n`);
    const withCopy = { ...secrets, SNAPSHOT_COPY_KEY_ID: "id", SNAPSHOT_COPY_SECRET: "secret" };
    const databaseOf = (deployment: unknown) => load({ ...staging, deployment }, withCopy).deployment.database;
    expect(databaseOf(undefined)).toMatchObject({
      snapshot_copy: { bucket: "production", prefix: "node/" },
      snapshot_retention: 30,
    });
    expect(databaseOf({ database: { snapshot_copy: null } })).toMatchObject({
      snapshot_copy: null,
      snapshot_retention: 30,
    });
    expect(
      databaseOf({ database: { snapshot_copy: { bucket: "staging", prefix: null }, snapshot_retention: null } }),
    ).toMatchObject({ snapshot_copy: { bucket: "staging", prefix: "" }, snapshot_retention: 7 });
    // An empty section of a file changes nothing.
    expect(databaseOf({ database: null })).toMatchObject({ snapshot_copy: { bucket: "production" } });
    expect(problems({ ...staging, deployment: { database: { snapshot_copy: { bucket: null } } } }, withCopy)).toEqual([
      expect.stringMatching(/^togather:deployment\.database\.snapshot_copy\.bucket: /),
    ]);
    expect(problems({ ...staging, deployment: { database: { snapshot_copie: null } } }, withCopy)).toEqual([
      expect.stringMatching(/snapshot_copie: is not a setting -> did you mean snapshot_copy/),
    ]);
  });

  it("in deployment.yml are told by file and key", () => {
    writeFileSync(
      join(directory, "deployment.yml"),
      "deployment:\n  health_check_retrys: 3\ndatabase:\n  snapshot_retention: many\n",
    );
    expect(problems(staging)).toEqual([
      expect.stringMatching(
        /^deployment\.yml: deployment\.health_check_retrys: is not a setting -> did you mean health_check_retries\?/,
      ),
      expect.stringMatching(/^deployment\.yml: database\.snapshot_retention: /),
    ]);
  });

  it("a deployment.yml that is no YAML is told with its line", () => {
    writeFileSync(join(directory, "deployment.yml"), "deployment: {\n");
    expect(problems(staging).join("\n")).toMatch(/^deployment\.yml: .* at line \d+/);
  });
});

describe("production", () => {
  it("wants no certificate where a proxy that is trusted has it, and says whom else that trusts", () => {
    const behind = { ...staging, environment: "production", publicUrl: "https://events.example.org" };
    expect(load({ ...behind, router: { trustedProxies: ["192.0.2.10", "2001:db8::/32"] } }).warnings).toEqual([]);
    expect(problems({ ...behind, publicUrl: "", router: { trustedProxies: ["192.0.2.10"] } })).toEqual([
      expect.stringContaining("togather:tls: production serves HTTPS"),
    ]);
    const subnet = "10.213.7.0/24";
    const own = { ...behind, subnet, router: { trustedProxies: ["10.213.7.1"] } };
    expect(load(own).warnings).toEqual([
      expect.stringContaining("togather:router.trustedProxies: has 10.213.7.1 in it"),
    ]);
    expect(load({ ...own, listenAddress: "127.0.0.1, ::1" }).warnings).toEqual([]);
  });

  it("wants HTTPS and committed source; staging only warns", () => {
    const tree = { slots: { blue: { version: "v1", commit: `tree-${"a".repeat(40)}` } } };
    expect(problems({ ...staging, ...tree, environment: "production" })).toEqual([
      expect.stringContaining("togather:slots.blue: production releases git commits"),
      expect.stringContaining("togather:tls: production serves HTTPS, but no certificate is set"),
    ]);
    expect(load({ ...staging, ...tree }).warnings).toHaveLength(2);
    expect(
      load(inDevelopment, { JWT_SECRET: strong(), ADMIN_API_KEY: strong(), DATABASE_PASSWORD: strong() }).warnings,
    ).toEqual([]);
  });
});

describe("secrets", () => {
  it("come from the environment, then the file, then the config", () => {
    const [jwtSecret, adminApiKey, databasePassword] = [strong(), strong(), strong()];
    writeFileSync(join(directory, ".env.staging"), `JWT_SECRET=${strong()}\nADMIN_API_KEY=${adminApiKey}\n`, {
      mode: 0o600,
    });
    const settings = load({ ...staging, adminApiKey: strong(), databasePassword }, { JWT_SECRET: jwtSecret });
    expect(settings.secrets).toEqual({ jwtSecret, adminApiKey, server: {} });
    expect(settings.database).toMatchObject({ mode: "bundled", password: databasePassword });
  });

  it("are missed by name, with the command that sets them", () => {
    expect(problems(staging, {})).toEqual([
      expect.stringMatching(
        /^togather:jwtSecret: is missing.*JWT_SECRET.* -> pulumi config set --secret togather:jwtSecret/,
      ),
      expect.stringMatching(/^togather:adminApiKey: is missing/),
      expect.stringMatching(/^togather:databasePassword: is missing/),
    ]);
  });

  it("are never shown, however wrong they are", () => {
    const found = problems(staging, {
      ...secrets,
      JWT_SECRET: "canary-short",
      ADMIN_API_KEY: "CHANGE_ME_canary_0123456789_0123456789",
      DATABASE_PASSWORD: "canarycanarycanarycanary",
    }).join("\n");
    expect(found).toMatch(/JWT_SECRET: has 12 characters, expected at least 32/);
    expect(found).toMatch(/ADMIN_API_KEY: is a placeholder/);
    expect(found).toMatch(
      /DATABASE_PASSWORD: is easy to guess: about \d+ bits, expected at least 46 -> put a new one there, such as \$\(openssl rand -hex 24\)/,
    );
    expect(found).not.toContain("canary");
  });

  it.each([
    "a".repeat(40),
    "0123456789abcdef0123456789abcdef",
    "qwertyuiopasdfghjklzxcvbnm123456",
    "togather-production-jwt-secret-2026",
    "admin-key-admin-key-admin-key-admin-key",
    "R2D2c3po!R2D2c3po!R2D2c3po!R2D2c3po!",
  ])("that can be guessed are refused: %s", (ADMIN_API_KEY) => {
    expect(problems(staging, { ...secrets, ADMIN_API_KEY })).toEqual([
      expect.stringMatching(/^environment variable ADMIN_API_KEY: is easy to guess/),
    ]);
  });

  it.each([
    "CHANGE_ME",
    "please-change-this-before-production",
    "dev_jwt_secret_change_in_production_min_64_chars",
    "<your secret here, 32 characters>",
    "${ADMIN_API_KEY}",
    "your-secret-key-of-32-characters!",
    "xxxxxxxx-xxxxxxxx-xxxxxxxx-xxxxxxx",
    "todo: make one with openssl, please",
  ])("that come from a template are refused: %s", (ADMIN_API_KEY) => {
    expect(problems(staging, { ...secrets, ADMIN_API_KEY })).toEqual([
      expect.stringMatching(/^environment variable ADMIN_API_KEY: is a placeholder/),
    ]);
  });

  it("with a line break at the end, as $(cat) would have left out, are refused where they never work so", () => {
    const found = problems(staging, {
      ...secrets,
      ADMIN_API_KEY: `${secrets.ADMIN_API_KEY}\n`,
      DATABASE_PASSWORD: ` ${secrets.DATABASE_PASSWORD}`,
    });
    expect(found).toEqual([
      'environment variable ADMIN_API_KEY: ends with a line break, which would be part of the secret -> in a shell ADMIN_API_KEY="$(cat FILE)" leaves out the line break at the end',
      expect.stringMatching(/^environment variable DATABASE_PASSWORD: has blanks around it/),
    ]);
    // A server that serves with it continues.
    expect(load(staging, { ...secrets, JWT_SECRET: `${secrets.JWT_SECRET}\r\n` }).warnings).toContainEqual(
      expect.stringMatching(/^environment variable JWT_SECRET: ends with a line break/),
    );
    const source = { secrets: ["SMTP_PASSWORD", "SIGNING_KEY"] };
    const { warnings } = load(
      { ...staging, source },
      { ...secrets, SMTP_PASSWORD: "abc\n", SIGNING_KEY: "-----BEGIN KEY-----\nabc\n-----END KEY-----\n" },
    );
    expect(warnings.filter((warning) => warning.includes("line break"))).toEqual([
      expect.stringMatching(/^environment variable SMTP_PASSWORD: /),
    ]);
  });

  it.each([
    ["ADMIN_API_KEY", (text: string) => text.replace("h", "\n"), "has a line break in it"],
    ["ADMIN_API_KEY", (text: string) => text.replace("h", "\u001b"), "has the control character U+001B in it"],
    ["DATABASE_PASSWORD", (text: string) => text.replace("k", "\0"), "has the control character U+0000 in it"],
    ["JWT_SECRET", (text: string) => text.replace("m", "\0"), "has the control character U+0000 in it"],
  ] as const)("with what no secret can have in it are refused: %s", (name, change, what) => {
    expect(problems(staging, { ...secrets, [name]: change(secrets[name]) })).toEqual([
      expect.stringContaining(`environment variable ${name}: ${what}, expected one line of printable characters`),
    ]);
  });

  it.each([
    [(text: string) => `"${text}"`, "has quotes around it"],
    [(text: string) => `“${text}”`, "has quotes around it"],
    [(text: string) => `${text}\u200b`, "has the character U+200B in it, which nobody sees"],
  ] as const)("with what was most likely not meant are told: %#", (change, what) => {
    const { warnings } = load(staging, { ...secrets, DATABASE_PASSWORD: change(secrets.DATABASE_PASSWORD) });
    expect(warnings).toContainEqual(
      expect.stringMatching(new RegExp(`^environment variable DATABASE_PASSWORD: ${what.replace("+", "\\+")}`)),
    );
  });

  it("in a file that is no UTF-8 text are told by the file", () => {
    const file = join(directory, ".env.staging");
    const text = Object.entries(secrets)
      .map(([name, value]) => `${name}=${value}\n`)
      .join("");
    const read = (bytes: Buffer): string[] => {
      writeFileSync(file, bytes, { mode: 0o600 });
      return problems(staging, {});
    };
    expect(read(Buffer.from(`\uFEFF${text}`, "utf16le"))[0]).toMatch(/^\.env\.staging: is no UTF-8 text, but UTF-16/);
    expect(read(Buffer.from(text, "utf16le"))[0]).toMatch(/^\.env\.staging: is no UTF-8 text, but UTF-16/);
    expect(read(Buffer.from(text.replace("r5Tc", "r5Té"), "latin1"))).toEqual([
      expect.stringMatching(/^\.env\.staging: DATABASE_PASSWORD: has bytes that are no UTF-8 text/),
    ]);
  });

  it.each([
    "Togather <noreply@example.net>",
    "https://hooks.example.org/T0/B1",
    "Your Events <events@node.example>",
    "<mailto:ops@example.org>",
    "dummy-relay:s3cr3t@mail.example.com",
    "p4ss<word>!",
  ])("of the server that are no placeholders are taken: %s", (EMAIL_FROM) => {
    expect(
      load({ ...staging, source: { secrets: ["EMAIL_FROM"] } }, { ...secrets, EMAIL_FROM }).secrets.server,
    ).toEqual({ EMAIL_FROM });
  });

  it.each([
    "CHANGE_ME",
    "change-me-please",
    "replace-with-your-key",
    "your-smtp-password",
    "<the key>",
    "${SMTP_PASSWORD}",
    "TODO: ask",
    "xxxxxxxx",
    "example",
  ])("of the server that come from a template are refused: %s", (EMAIL_FROM) => {
    expect(problems({ ...staging, source: { secrets: ["EMAIL_FROM"] } }, { ...secrets, EMAIL_FROM })).toEqual([
      expect.stringMatching(/^environment variable EMAIL_FROM: is a placeholder/),
    ]);
  });

  it("as openssl makes them are strong enough", () => {
    for (let round = 0; round < 20; round++) {
      const made = {
        JWT_SECRET: randomBytes(32).toString("base64"),
        ADMIN_API_KEY: randomBytes(32).toString("hex"),
        DATABASE_PASSWORD: randomBytes(24).toString("hex"),
      };
      expect(load(staging, made).warnings).toEqual([expect.stringContaining("togather:tls")]);
    }
  });

  it("that are weak only make development warn", () => {
    const weak = { ...secrets, ADMIN_API_KEY: "changeme", DATABASE_PASSWORD: "togather" };
    expect(load(inDevelopment, weak).warnings).toEqual([
      "environment variable ADMIN_API_KEY: is a placeholder, expected a secret of your own",
      "environment variable DATABASE_PASSWORD: has 8 characters, expected at least 16",
    ]);
    expect(problems(inDevelopment, { ...weak, JWT_SECRET: "short" })).toEqual([
      expect.stringContaining("the server takes none below 32"),
    ]);
  });

  it("of another environment are refused in production, and warned of elsewhere", async () => {
    const { certificate, key } = await certificatePair();
    writeFileSync(join(directory, "c.pem"), certificate);
    writeFileSync(join(directory, "k.pem"), key);
    const production = { ...staging, environment: "production", tls: { certificateFile: "c.pem", keyFile: "k.pem" } };
    load(staging);
    const own = { JWT_SECRET: strong(), DATABASE_PASSWORD: strong() };
    expect(problems(production, { ...secrets, ...own })).toEqual([
      expect.stringContaining(
        "environment variable ADMIN_API_KEY: is in use in staging too, expected a secret of its own for production -> put a new one there, such as $(openssl rand -hex 32)",
      ),
    ]);
    const adminApiKey = strong();
    expect(load(production, { ...own, ADMIN_API_KEY: adminApiKey }).warnings).toEqual([]);
    expect(
      load(inDevelopment, { JWT_SECRET: strong(), DATABASE_PASSWORD: strong(), ADMIN_API_KEY: adminApiKey }).warnings,
    ).toEqual([
      "environment variable ADMIN_API_KEY: is in use in production too, expected a secret of its own for development",
    ]);
  });

  it("are not used twice", () => {
    expect(load(staging, { ...secrets, ADMIN_API_KEY: secrets.JWT_SECRET }).warnings).toContain(
      "environment variable ADMIN_API_KEY: is the same as JWT_SECRET, expected a secret of its own",
    );
  });

  it("are remembered by fingerprints only, with a key that nobody else can read", () => {
    load(staging);
    const memory = join(directory, ".togather/secrets");
    expect(statSync(join(memory, "fingerprint.key")).mode & 0o777).toBe(0o600);
    const seen = readFileSync(join(memory, "seen.json"), "utf8");
    expect(Object.keys(JSON.parse(seen) as object)).toHaveLength(3);
    for (const secret of Object.values(secrets)) {
      expect(seen).not.toContain(secret);
      expect(seen).not.toContain(createHash("sha256").update(secret).digest("hex"));
    }
    // Damaged, or lost with its key: nothing is known, and nothing fails.
    writeFileSync(join(memory, "seen.json"), "{");
    expect(load(staging).secrets.jwtSecret).toBe(secrets.JWT_SECRET);
    expect(Object.keys(JSON.parse(readFileSync(join(memory, "seen.json"), "utf8")) as object)).toHaveLength(3);
  });

  it("in plain text in the stack's config are refused", () => {
    const config = { ...staging, jwtSecret: strong(), adminApiKey: strong() };
    const texts = Object.fromEntries(
      Object.entries(config).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    );
    expect(() =>
      loadSettings({
        config: texts,
        encryptedKeys: new Set(["adminApiKey"]),
        environment: secrets,
        projectDirectory: directory,
      }),
    ).toThrow(/togather:jwtSecret: is a secret in plain text\n.*pulumi config set --secret togather:jwtSecret/);
  });

  it("in a file that others can read are refused", () => {
    const file = join(directory, ".env.staging");
    writeFileSync(file, `JWT_SECRET=${strong()}\n`);
    chmodSync(file, 0o644);
    expect(problems(staging)).toEqual([
      expect.stringContaining(
        ".env.staging: holds secrets and is readable by others (mode 644, expected 600) -> chmod 600 .env.staging",
      ),
    ]);
  });
});

describe("an external database", () => {
  const own = { JWT_SECRET: secrets.JWT_SECRET, ADMIN_API_KEY: secrets.ADMIN_API_KEY };
  const external = { ...staging, database: { mode: "external" } };
  const url = "postgresql://app:r5TcG9aJv4LkXw2b@db.internal:5432/events?sslmode=require";

  it("wants a URL instead of a password, and takes one role for everything unless told otherwise", () => {
    expect(problems(external, own)).toEqual([
      expect.stringMatching(
        /^togather:databaseUrl: is missing; expected in the environment \(DATABASE_URL\).* -> pulumi config set --secret togather:databaseUrl/,
      ),
    ]);
    expect(load(external, { ...own, DATABASE_URL: url }).database).toMatchObject({
      mode: "external",
      url,
      migrationUrl: url,
    });
    const migrationUrl = "postgresql://owner:kD93jfnA02mfKq91@db.internal:5432/events?sslmode=verify-full";
    expect(load({ ...external, databaseUrl: url, migrationDatabaseUrl: migrationUrl }, own).database).toMatchObject({
      url,
      migrationUrl,
    });
  });

  it("may have one role in two URLs, which is no secret used twice; two roles with one password are", () => {
    const inProduction = {
      ...external,
      environment: "production",
      tls: undefined,
      database: { mode: "external" },
    };
    const role = (user: string, database: string): string =>
      `postgresql://${user}:kD93jfnA02mfKq91@db.internal:5432/${database}?sslmode=require`;
    const found = (admin: string): string =>
      problems(inProduction, {
        ...own,
        DATABASE_URL: url,
        MIGRATION_DATABASE_URL: role("owner", "events"),
        DATABASE_ADMIN_URL: admin,
      }).join("\n");
    expect(found(role("owner", "postgres"))).not.toContain("DATABASE_ADMIN_URL");
    expect(found(role("admin", "postgres"))).toContain("DATABASE_ADMIN_URL: is the same as MIGRATION_DATABASE_URL");
  });

  it("is handed on as every program reads it, whatever was written", () => {
    const written = `postgres://app:a "b" c|d^e{f}g\\h ü xyz@[fd00::5]/events?sslmode=require&pool_max_conns=7`;
    expect(load(external, { ...own, DATABASE_URL: written }).database).toMatchObject({
      url: "postgresql://app:a%20%22b%22%20c%7Cd%5Ee%7Bf%7Dg%5Ch%20%C3%BC%20xyz@[fd00::5]/events?sslmode=require&pool_max_conns=7",
    });
  });

  it.each([
    ["mysql://app:r5TcG9aJv4LkXw2b@db/events", "environment variable DATABASE_URL: is no PostgreSQL URL"],
    [
      "postgresql://app:r5TcG9aJv4LkXw2b@localhost/events?sslmode=require",
      "environment variable DATABASE_URL: names localhost, which is the server's own container -> write host.docker.internal",
    ],
    ["postgresql://app:r5TcG9aJv4LkXw2b@[::1]/events?sslmode=require", "environment variable DATABASE_URL: names ::1"],
    [
      "postgresql://app:r5TcG9aJv4LkXw2b@/events?host=/var/run/postgresql&sslmode=require",
      "environment variable DATABASE_URL: names the socket /var/run/postgresql",
    ],
    [
      "postgresql://app:hunter2@db/events?sslmode=require",
      "environment variable DATABASE_URL: has 7 characters, expected at least 16",
    ],
    ["postgresql://app:CHANGE_ME@db/events?sslmode=require", "environment variable DATABASE_URL: is a placeholder"],
  ])("is refused when it is no good: %s", (DATABASE_URL, expected) => {
    expect(problems(external, { ...own, DATABASE_URL })).toEqual([expect.stringContaining(expected)]);
  });

  it("without TLS is refused in production, and warned of in staging", () => {
    const plain = { ...own, DATABASE_URL: url.replace("require", "prefer") };
    expect(problems({ ...external, environment: "production" }, plain)).toContainEqual(
      expect.stringContaining(
        "environment variable DATABASE_URL: connects with sslmode=prefer, expected at least require -> end the URL with ?sslmode=require",
      ),
    );
    expect(load(external, plain).warnings).toContain(
      "environment variable DATABASE_URL: connects with sslmode=prefer, expected at least require",
    );
    expect(load({ ...inDevelopment, database: external.database }, plain).warnings.join()).not.toContain("sslmode");
  });

  it("has no number of connections here", () => {
    expect(
      problems({ ...external, database: { mode: "external", maxConnections: 200 } }, { ...own, DATABASE_URL: url }),
    ).toEqual([
      expect.stringMatching(
        /^togather:database\.maxConnections: is for the bundled database, but togather:database\.mode is external -> pulumi config rm --path/,
      ),
    ]);
    expect(problems({ ...staging, database: { maxConnections: 5 } })).toEqual([
      expect.stringMatching(/^togather:database\.maxConnections: /),
    ]);
  });

  it("is not half chosen", () => {
    expect(problems({ ...staging, databaseUrl: url, database: { network: "shared" } })).toEqual([
      "togather:database.network: is for an external database, but togather:database.mode is bundled -> pulumi config set --path togather:database.mode external",
      expect.stringMatching(/^togather:databaseUrl: is for an external database/),
    ]);
    // A developer's shell may have one for another purpose.
    expect(load(staging, { ...secrets, DATABASE_URL: "mysql://other" }).database.mode).toBe("bundled");
    expect(problems({ ...staging, database: { mode: "extern" } })).toEqual([
      expect.stringContaining('togather:database.mode: expected bundled or external, found "extern"'),
    ]);
  });
});

describe("another server", () => {
  it("gets its own variables, and its own secrets from the places of all others", () => {
    writeFileSync(join(directory, ".env.staging"), "SMTP_PASSWORD=from-the-file\n", { mode: 0o600 });
    const source = {
      environment: { CORS_ALLOWED_ORIGINS: "*" },
      secrets: ["SMTP_PASSWORD", "RESEND_API_KEY", "MAP_TOKEN"],
    };
    const settings = load(
      { ...staging, source, secrets: { RESEND_API_KEY: "from-the-config", SMTP_PASSWORD: "loses" } },
      { ...secrets, MAP_TOKEN: "from-the-environment" },
    );
    expect(settings.secrets.server).toEqual({
      SMTP_PASSWORD: "from-the-file",
      RESEND_API_KEY: "from-the-config",
      MAP_TOKEN: "from-the-environment",
    });
    expect(settings.source.environment).toEqual({ CORS_ALLOWED_ORIGINS: "*" });
  });

  it.each([
    [
      { source: { secrets: ["SMTP_PASSWORD"] } },
      "togather:secrets.SMTP_PASSWORD: is missing; expected in the environment (SMTP_PASSWORD), the secrets file or the stack's config -> pulumi config set --secret --path togather:secrets.SMTP_PASSWORD",
    ],
    [{ secrets: { TOKEN: "x" } }, "togather:secrets.TOKEN: is not among togather:source.secrets"],
    [{ source: { secrets: ["TOKEN"] }, secrets: { TOKEN: "CHANGE_ME" } }, "togather:secrets.TOKEN: is a placeholder"],
    [
      { source: { environment: { DATABASE_URL: "x" } } },
      "togather:source.environment.DATABASE_URL: DATABASE_URL is set by the deployment itself",
    ],
    [
      { source: { portVariable: "SERVER_PORT", environment: { SERVER_PORT: "1" } } },
      "togather:source.environment.SERVER_PORT: SERVER_PORT is set by the deployment itself",
    ],
    [{ source: { environment: { "a b": "x" } } }, "togather:source.environment.a b: "],
    [
      { source: { environment: { TOKEN: "x" }, secrets: ["TOKEN"] }, secrets: { TOKEN: "y" } },
      "togather:source.environment.TOKEN: is in togather:source.secrets too",
    ],
    [
      { source: { environment: { A: "{publicUrl}" } } },
      "togather:source.environment.A: {publicUrl} is not known, since togather:publicUrl is not set -> pulumi config set togather:publicUrl",
    ],
    [
      { source: { environment: { A: "{routeraddress}/32" } } },
      "togather:source.environment.A: nothing is known as {routeraddress} -> did you mean {routerAddress}? Known here: {",
    ],
    [
      { source: { environment: { A: "{name}" } } },
      "nothing is known as {name} -> Known here: {publicUrl}, {publicHost}, {subnet}, {routerAddress}, {slot}, {version}, {commit}; \\{name} stands for the text itself",
    ],
    [{ source: { environment: { A: "${slott}" } } }, "did you mean {slot}?"],
    [
      { source: { environment: { A: "{created}" } } },
      "{created} is not known here: it is known in togather:source.buildArguments",
    ],
    [
      { source: { buildArguments: { A: "{slot}" } } },
      "togather:source.buildArguments.A: {slot} is not known here: both slots run the same image; it is known in togather:source.environment",
    ],
    [
      { publicUrl: "events.example.org" },
      "togather:publicUrl: expected a URL without a path, such as https://events.example.org",
    ],
    [{ publicUrl: "https://events.example.org/path" }, "togather:publicUrl: expected a URL without a path"],
    [{ publicUrl: "https://user@events.example.org" }, "togather:publicUrl: expected a URL without a path"],
    [
      { source: { secrets: ["CSRF_KEY"], secretLengths: { CSRF_KEY: 32 } } },
      'togather:secrets.CSRF_KEY: is missing; expected in the environment (CSRF_KEY), the secrets file or the stack\'s config -> pulumi config set --secret --path togather:secrets.CSRF_KEY "$(openssl rand -hex 16)"',
    ],
    [
      { source: { secretLengths: { CSRF_KEY: 32 } } },
      "togather:source.secretLengths.CSRF_KEY: is not among togather:source.secrets -> pulumi config set --path togather:source.secrets[0] CSRF_KEY",
    ],
    [
      { source: { unreadSecrets: ["DATABASE_URL"] } },
      'togather:source.unreadSecrets.0: expected JWT_SECRET or ADMIN_API_KEY, found "DATABASE_URL"',
    ],
    [
      { source: { container: { shmSize: "1gb" } } },
      "togather:source.container.shmSize: expected a size such as 256m or 1g",
    ],
    [{ source: { container: { tmpSize: "0m" } } }, "togather:source.container.tmpSize: expected a size"],
    [
      { source: { container: { home: "/var/lib/x" } } },
      "togather:source.container.home: expected an absolute path such as /home/togather, no directory of the system",
    ],
    [{ source: { container: { home: "home" } } }, "togather:source.container.home: expected an absolute path"],
    [
      { source: { container: { shmsize: "1g" } } },
      "togather:source.container.shmsize: is not a setting -> did you mean shmSize?",
    ],
    [
      { source: { tasks: [{ name: "a", command: "ls", when: "before-switch" }] } },
      'togather:source.tasks.0.command: expected a list of words, such as [/server, warm-cache], found "ls"',
    ],
    [
      { source: { tasks: [{ name: "a", command: [], when: "before-switch" }] } },
      "togather:source.tasks.0.command: expected a program and its arguments",
    ],
    [
      { source: { tasks: [{ name: "a", comand: ["ls"], command: ["ls"], when: "before-switch" }] } },
      "togather:source.tasks.0.comand: is not a setting -> did you mean command?",
    ],
    [
      { source: { tasks: [{ name: "a", command: ["ls"], when: "later" }] } },
      'togather:source.tasks.0.when: expected before-switch or after-switch, found "later"',
    ],
    [
      { source: { tasks: [{ name: "a", command: ["ls"], when: "after-switch", timeout: "0s" }] } },
      "togather:source.tasks.0.timeout: expected more than no time",
    ],
    [
      { source: { tasks: [{ name: "a", command: ["ls"], when: "before-switch", onFailure: "warn" }] } },
      "togather:source.tasks[0].onFailure: is for a task with when: after-switch; a is run before, and stops the release when it fails -> leave it out",
    ],
    [
      {
        source: {
          tasks: [
            { name: "a", command: ["ls"], when: "after-switch" },
            { name: "a", command: ["ls"], when: "after-switch" },
          ],
        },
      },
      "togather:source.tasks[1].name: a is the name of togather:source.tasks[0] too",
    ],
    [{ source: { portvariable: "X" } }, "togather:source.portvariable: is not a setting -> did you mean portVariable?"],
  ])("%j", (change, expected) => {
    expect(problems({ ...staging, ...change })).toEqual([expect.stringContaining(expected)]);
  });
});

describe("a server's own rules for secrets", () => {
  const { ADMIN_API_KEY, ...without } = secrets;

  it("leave out what it doesn't read: nobody is asked for it, and it isn't given; all others are", () => {
    const settings = load({ ...staging, source: { unreadSecrets: ["ADMIN_API_KEY"] } }, without);
    expect(settings.secrets).toEqual({ jwtSecret: secrets.JWT_SECRET, adminApiKey: undefined, server: {} });
    // A secret that is left over does not matter, whatever its value.
    expect(
      load({ ...staging, source: { unreadSecrets: ["ADMIN_API_KEY"] } }, { ...secrets, ADMIN_API_KEY: "changeme" })
        .secrets.adminApiKey,
    ).toBeUndefined();
    expect(problems(staging, without)).toEqual([expect.stringMatching(/^togather:adminApiKey: is missing/)]);
    expect(problems({ ...staging, source: { unreadSecrets: ["ADMIN_API_KEY"] } }, {})).toEqual([
      expect.stringMatching(/^togather:jwtSecret: is missing/),
      expect.stringMatching(/^togather:databasePassword: is missing/),
    ]);
    // It is then a name like any other.
    expect(
      load({ ...staging, source: { unreadSecrets: ["ADMIN_API_KEY"], secrets: ["ADMIN_API_KEY"] } }).secrets.server,
    ).toEqual({ ADMIN_API_KEY });
  });

  it("ask for a length, whatever the environment, and then for a secret that is as good as ours", () => {
    const source = { secrets: ["CSRF_KEY", "PIN"], secretLengths: { CSRF_KEY: 32, PIN: 4 } };
    const CSRF_KEY = strong();
    expect(load({ ...staging, source }, { ...secrets, CSRF_KEY, PIN: "4711" }).secrets.server).toEqual({
      CSRF_KEY,
      PIN: "4711",
    });
    expect(
      problems(
        { ...inDevelopment, source: { ...inDevelopment.source, ...source } },
        { ...secrets, CSRF_KEY: "short", PIN: "4711" },
      ),
    ).toEqual([
      expect.stringMatching(/^environment variable CSRF_KEY: has 5 characters, and the server takes none below 32/),
    ]);
    expect(problems({ ...staging, source }, { ...secrets, CSRF_KEY: "a".repeat(32), PIN: "4711" })).toEqual([
      expect.stringMatching(/CSRF_KEY: is easy to guess/),
    ]);
    expect(load({ ...staging, source }, { ...secrets, CSRF_KEY: secrets.JWT_SECRET, PIN: "4711" }).warnings).toContain(
      "environment variable CSRF_KEY: is the same as JWT_SECRET, expected a secret of its own",
    );
  });
});

describe("placeholders", () => {
  it("need what they stand for: in development a server has no slot, and a URL of its own", () => {
    const told = { ...inDevelopment, source: { ...inDevelopment.source, environment: { A: "{publicUrl} {subnet}" } } };
    expect(load(told).source.environment).toEqual({ A: "{publicUrl} {subnet}" });
    expect(
      problems({ ...told, source: { ...told.source, environment: { A: "{slot} {version}", B: "{routerAddress}" } } }),
    ).toEqual([
      expect.stringContaining("environment.A: {slot} is not known here: development has no slots"),
      expect.stringContaining("environment.A: {version} is not known here: development has no releases"),
      expect.stringContaining("environment.B: {routerAddress} is not known here: development has no router"),
    ]);
  });

  it("tell a public URL without HTTPS in production", () => {
    expect(problems({ ...staging, environment: "production", publicUrl: "http://events.example.org" })).toContainEqual(
      "togather:publicUrl: http://events.example.org is plain HTTP, and production serves HTTPS -> pulumi config set togather:publicUrl https://events.example.org",
    );
  });
});

describe("a rollout", () => {
  it("is at once unless it is asked for, and understands times", () => {
    expect(rolloutOf(load(staging).rollout)).toEqual({ steps: [], intervalMs: 60_000, bakeMs: 0, sticky: false });
    const { rollout } = load({
      ...staging,
      rollout: '{"steps":[5,25,50,100],"interval":"90s","bake":"5m","sticky":true}',
    });
    expect(rolloutOf(rollout)).toEqual({ steps: [5, 25, 50, 100], intervalMs: 90_000, bakeMs: 300_000, sticky: true });
  });

  it.each([
    [
      '{"steps":[50,25]}',
      /togather:rollout\.steps: expected percentages that grow, such as \[5, 25, 50, 100\], found \[50,25\]/,
    ],
    ['{"steps":[0]}', /togather:rollout\.steps/],
    [
      '{"interval":"soon"}',
      /togather:rollout\.interval: expected a time such as 30s, 5m or 1h, at most 24h, found "soon"/,
    ],
    ['{"bake":"2d"}', /togather:rollout\.bake: expected a time/],
    ['{"bake":""}', /togather:rollout\.bake: expected a time/],
    ['{"backe":"5m"}', /togather:rollout/],
  ])("refuses %s", (rollout, message) => {
    expect(problems({ ...staging, rollout }).join("\n")).toMatch(message);
  });
});

describe("standby", () => {
  it("runs on unless it is told otherwise", () => {
    expect(load(staging)).toMatchObject({ standby: "running", drainTimeout: "60s" });
    expect(problems({ ...staging, standby: "paused" })).toEqual([
      expect.stringContaining('togather:standby: expected running, stopped or removed, found "paused"'),
    ]);
    expect(problems({ ...staging, drainTimeout: "2h" })).toEqual([
      expect.stringContaining("togather:drainTimeout: expected a time such as 30s, 5m or 1h, at most 1h"),
    ]);
  });
});

describe("snapshots that are encrypted", () => {
  const recipient = `age1${"q".repeat(58)}`;
  const identity = `AGE-SECRET-KEY-1${"Q".repeat(58)}`;
  const encrypted = (database: Record<string, unknown> = {}): Record<string, unknown> => ({
    deployment: { database: { snapshot_recipients: [recipient], ...database } },
  });
  it("need an identity where they have to be proved", () => {
    expect(load({ ...staging, ...encrypted() }).snapshotIdentity).toBeUndefined();
    expect(load({ ...staging, ...encrypted() }, { ...secrets, SNAPSHOT_IDENTITY: identity }).snapshotIdentity).toBe(
      identity,
    );
    const config = { ...staging, environment: "production" };
    const found = (more: Record<string, unknown>, environment: NodeJS.ProcessEnv = secrets): string[] =>
      problems({ ...config, ...more }, environment).filter((problem) => problem.includes("napshot"));
    expect(found(encrypted())).toEqual([
      expect.stringContaining("togather:snapshotIdentity: is missing: snapshots are encrypted"),
    ]);
    expect(found(encrypted(), { ...secrets, SNAPSHOT_IDENTITY: identity })).toEqual([]);
    expect(found(encrypted({ snapshot_verify: "when-possible", migration_rehearsal: "when-possible" }))).toEqual([]);
  });

  it.each([
    [encrypted({ snapshot_recipients: ["ssh-ed25519 AAAA"] }), {}, "database.snapshot_recipients"],
    [
      encrypted({ snapshot_format: "directory" }),
      {},
      "database.snapshot_recipients: snapshots in the format directory can't be encrypted -> database.snapshot_format: sql.zst",
    ],
    [
      {},
      { SNAPSHOT_IDENTITY: recipient.padEnd(74, "x") },
      "environment variable SNAPSHOT_IDENTITY: is not a secret key of age",
    ],
  ])("are refused as %j with %j", (change, environment, expected) => {
    expect(problems({ ...staging, ...change }, { ...secrets, ...environment })).toEqual([
      expect.stringContaining(expected),
    ]);
  });
});

describe("copies of snapshots", () => {
  const copied = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
    ...staging,
    deployment: { database: { snapshot_copy: { endpoint: "https://s3.example.org", bucket: "backups", ...over } } },
  });

  it("have defaults, and need credentials", () => {
    const settings = load(copied(), { ...secrets, SNAPSHOT_COPY_KEY_ID: "id", SNAPSHOT_COPY_SECRET: "secret" });
    expect(settings.deployment.database.snapshot_copy).toEqual({
      endpoint: "https://s3.example.org",
      region: "us-east-1",
      bucket: "backups",
      prefix: "",
      failure: "error",
    });
    expect(settings.snapshotCopyCredentials).toEqual({ keyId: "id", secret: "secret" });
    expect(problems(copied())).toEqual([
      expect.stringContaining("togather:snapshotCopyKeyId: is missing"),
      expect.stringContaining("togather:snapshotCopySecret: is missing"),
    ]);
  });

  it.each([
    [{ endpoint: "s3.example.org" }, "snapshot_copy.endpoint: expected a URL such as https://s3.example.org"],
    [{ bucket: "No Bucket" }, "snapshot_copy.bucket: expected the name of a bucket"],
    [{ prefix: "togather" }, "snapshot_copy.prefix: expected nothing, or a path that ends with /"],
  ])("are refused with %j", (over, expected) => {
    expect(problems(copied(over), { ...secrets, SNAPSHOT_COPY_KEY_ID: "id", SNAPSHOT_COPY_SECRET: "secret" })).toEqual([
      expect.stringContaining(expected),
    ]);
  });
});

describe("a certificate from the environment", () => {
  const production = { ...staging, environment: "production" };

  it("needs no file, and wins over the files of the stack", async () => {
    const { certificate, key } = await certificatePair();
    const environment = { ...secrets, TLS_CERTIFICATE: certificate, TLS_KEY: key };
    expect(load(production, environment).tls).toEqual({ certificate, key });
    // The key is written to another place, which fewer people can read.
    const both = { ...environment, TLS_CERTIFICATE: `${certificate}\n${key}\n` };
    expect(load(production, both).tls?.certificate.trim()).toBe(certificate.trim());
    expect(load({ ...production, publicUrl: "https://events.example.org" }, environment).warnings).toEqual([]);
    expect(load({ ...production, publicUrl: "https://other.example.org" }, environment).warnings).toEqual([
      expect.stringMatching(
        /^togather:tls: the certificate is that of .*events\.example\.org.*, and togather:publicUrl is https:\/\/other\.example\.org: browsers refuse one of another name$/,
      ),
    ]);
    expect(load({ ...production, tls: { certificateFile: "none.pem", keyFile: "none.pem" } }, environment).tls).toEqual(
      { certificate, key },
    );
    // Variables that any environment may have.
    expect(load(inDevelopment, environment).tls).toBeUndefined();
  });

  it("may be in the secrets file, with its line breaks", async () => {
    const { certificate, key } = await certificatePair();
    writeFileSync(
      join(directory, ".env.production"),
      `TLS_CERTIFICATE="${certificate.trim()}"\nTLS_KEY='${key.trim()}'\n`,
      { mode: 0o600 },
    );
    expect(load(production).tls).toEqual({ certificate: certificate.trim(), key: key.trim() });
  });

  it("is refused without its key, with another's, and when line breaks are lost", async () => {
    const { certificate, key } = await certificatePair();
    const other = await certificatePair();
    const found = (tls: NodeJS.ProcessEnv): string => problems(production, { ...secrets, ...tls }).join("\n");
    expect(found({ TLS_CERTIFICATE: certificate })).toMatch(/^TLS_KEY: is missing, but TLS_CERTIFICATE is set/);
    expect(found({ TLS_KEY: key })).toMatch(/^TLS_CERTIFICATE: is missing, but TLS_KEY is set/);
    expect(found({ TLS_CERTIFICATE: certificate, TLS_KEY: other.key })).toMatch(
      /^togather:tls: certificate and key don't belong together/,
    );
    const flat = found({ TLS_CERTIFICATE: certificate.replaceAll("\n", " "), TLS_KEY: key.replaceAll("\n", "\\n") });
    expect(flat).toMatch(/environment variable TLS_CERTIFICATE: is no PEM text with a CERTIFICATE/);
    expect(flat).toMatch(/environment variable TLS_KEY: is no PEM text with a PRIVATE KEY/);
    expect(flat).not.toContain(key.split("\n")[1]);
  });
});

describe("what the lint of migrations lets through", () => {
  const withAllowed = (allow: unknown): ReturnType<typeof load> =>
    load({ ...staging, migrations: JSON.stringify({ allow }) });
  it("is a list of files, rules and reasons", () => {
    const allow = [
      { file: "000044_x.up.sql", rule: "drop-column", reason: "nobody reads it" },
      { file: "7_y.up.sql", rule: "squawk/ban-char-field", reason: "codes" },
    ];
    expect(withAllowed(allow).migrations).toEqual({ allow });
    expect(load(staging).migrations).toEqual({ allow: [] });
  });
  it.each([
    [{ file: "000044_x.up.sql", rule: "drop-colunm", reason: "x" }, /drop-colunm" is not a rule of the lint/],
    [
      { file: "migrations/000044_x.up.sql", rule: "drop-column", reason: "x" },
      /the name of a migration without its directory/,
    ],
    [{ file: "000044_x.up.sql", rule: "drop-column", reason: " " }, /why it does no harm/],
    [{ file: "000044_x.up.sql", rule: "drop-column" }, /reason/],
  ])("refuses %j", (entry, problem) => {
    expect(() => withAllowed([entry])).toThrow(problem);
  });
});
