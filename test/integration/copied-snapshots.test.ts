/** Snapshots in other formats, encrypted, and copied elsewhere, through releases of a whole stack. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../cli/exit-codes.ts";
import { manifestName } from "../../ops/contract/snapshot-format.ts";
import { makeIdentity } from "./age-identity.ts";
import { expectNothingToDo } from "./nothing-to-do.ts";
import { S3Storage } from "./s3-storage.ts";
import { TestStack, type Listed } from "./stack.ts";
import { argumentsOf, toldCommands } from "./told-commands.ts";

// One deployment lives through its life in order: each test starts from what the one before left.
describe("snapshots that are encrypted and copied", () => {
  const credentials = { SNAPSHOT_COPY_KEY_ID: "copykeycanary4711", SNAPSHOT_COPY_SECRET: "copysecretcanary4712" };
  let stack: TestStack;
  let storage: S3Storage | undefined;
  let identity: { secret: string; recipient: string };
  let printed = "";

  beforeAll(async () => {
    stack = await TestStack.create();
    await stack.commitTagged("v1.0.0");
    const first = await stack.togather("release", "v1.0.0");
    expect(first.code, `${first.stdout}\n${first.stderr}`).toBe(0);
    identity = await makeIdentity();
    storage = await S3Storage.start(`togather-${stack.name}-s3`, `togather-${stack.name}`, credentials);
    await stack.query(
      "SET ROLE togather_owner; INSERT INTO places (name, location) SELECT 'p ' || n, 'POINT(1 2)' FROM generate_series(1, 500) n",
    );
    stack.addMigration("000005_second", "CREATE TABLE second (id int);", "DROP TABLE second;");
    await stack.commitTagged("v2.0.0");
    stack.addMigration("000006_third", "CREATE TABLE third (id int);", "DROP TABLE third;");
    await stack.commitTagged("v3.0.0");
  }, 900_000);
  afterAll(async () => {
    await storage?.remove();
    await stack.remove();
  });

  const started = (): S3Storage => {
    if (storage === undefined) throw new Error("the storage was not started");
    return storage;
  };
  const backups = (): string => join(stack.directory, ".togather/backups");
  const copyTo = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
    endpoint: started().endpoint,
    bucket: "backups",
    prefix: "production/",
    ...over,
  });
  const configure = (database: Record<string, unknown>): void => {
    stack.set({ deployment: stack.deployment({ database }) });
  };
  const newest = async (): Promise<Listed> => {
    const [first] = await stack.snapshots();
    if (first === undefined) throw new Error("there is no snapshot");
    return first;
  };
  const places = (): Promise<string> => stack.query("SELECT count(*) FROM places");
  const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  async function togather(...args: string[]): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
    const result = await stack.togather(...args);
    printed += `${result.stdout}\n${result.stderr}\n`;
    return result;
  }

  it("are refused while a key is missing, before anything changes", async () => {
    configure({
      snapshot_format: "sql.zst",
      snapshot_recipients: [identity.recipient],
      snapshot_copy: copyTo(),
      snapshot_verify: "required",
    });
    const before = await stack.containers();
    const refused = await togather("release", "v2.0.0");
    expect(refused.code).toBe(exitCodes.config.code);
    for (const key of ["snapshotIdentity", "snapshotCopyKeyId", "snapshotCopySecret"])
      expect(refused.stdout + refused.stderr).toContain(`togather:${key}`);
    expect(await stack.containers()).toEqual(before);
    expect(await stack.snapshots()).toHaveLength(1);
  });

  it("are taken, proved with the key, rehearsed on and copied by a release", async () => {
    stack.moreSecrets = { SNAPSHOT_IDENTITY: identity.secret, ...credentials };
    stack.writeSecrets();
    const released = await togather("release", "v2.0.0");
    expect(released.code, `${released.stdout}\n${released.stderr}`).toBe(0);
    expect(released.stdout).toMatch(/^rehearse green +ok /m);
    expect(released.stdout).toMatch(/^migrate green .*schema version 4 to 5/m);
    const snapshot = await newest();
    expect(snapshot.file).toMatch(/\.sql\.zst\.age$/);
    expect(snapshot.manifest).toMatchObject({ before_version: "v2.0.0", verified_at: expect.any(String) as unknown });
    const file = readFileSync(join(backups(), snapshot.file));
    expect(file.subarray(0, 21).toString("latin1")).toBe("age-encryption.org/v1");
    expect(sha256(await started().read(`production/${snapshot.file}`))).toBe(sha256(file));
    expect(Buffer.from(await started().read(`production/${manifestName(snapshot.file)}`)).toString()).toContain(
      sha256(file),
    );
  });

  it("leave Pulumi nothing to do", () => expectNothingToDo(stack));

  it("stand beside one in the format directory, of a release that a storage without a bucket doesn't stop when told so", async () => {
    configure({ snapshot_format: "directory", snapshot_copy: copyTo({ bucket: "nowhere", failure: "warn" }) });
    const released = await togather("release", "v3.0.0");
    expect(released.code, `${released.stdout}\n${released.stderr}`).toBe(0);
    expect(released.stdout).toMatch(/^copy blue +ok .*NOT COPIED: .*NoSuchBucket/m);
    const snapshot = await newest();
    expect(snapshot.file).toMatch(/\.dir$/);
    expect(readdirSync(join(backups(), snapshot.file))).toEqual(expect.arrayContaining(["toc.dat", "roles.sql"]));
    expect(snapshot.manifest.verified_at).toEqual(expect.any(String));
    expect(await started().inside("ls", "/data/backups/production")).not.toContain(snapshot.file);
  });

  it("are all proved again and listed, whatever the setting is now", async () => {
    const snapshots = await stack.snapshots();
    expect(snapshots.map(({ file }) => file.replace(/^[^.]*/, ""))).toEqual([".dir", ".sql.zst.age", ".sql.gz"]);
    for (const { id } of snapshots) {
      const verified = await togather("snapshots", "verify", id);
      expect(verified.code, `${verified.stdout}\n${verified.stderr}`).toBe(0);
      expect(verified.stdout).toMatch(/restores: \d+ rows in \d+ tables/);
    }
  });

  it("go back with a release each: first the directory, then the encrypted one", async () => {
    await stack.query("SET ROLE togather_owner; DELETE FROM places WHERE id IN (SELECT id FROM places LIMIT 300)");
    const back = await togather("rollback", "--restore-database", "--yes");
    expect(back.code, `${back.stdout}\n${back.stderr}`).toBe(0);
    expect([await places(), await stack.query("SELECT version FROM schema_migrations")]).toEqual(["500", "5"]);

    await stack.query("SET ROLE togather_owner; TRUNCATE places CASCADE");
    const encrypted = (await stack.snapshots()).find(({ file }) => file.endsWith(".age"));
    // The release that serves needs a newer schema than that snapshot has: going back is a matter of the release as well.
    const refused = await togather("snapshots", "restore", encrypted?.id ?? "", "--yes");
    expect(refused.code, refused.stdout).toBe(exitCodes.config.code);
    const forced = await togather("snapshots", "restore", encrypted?.id ?? "", "--force", "--yes");
    expect(forced.code, `${forced.stdout}\n${forced.stderr}`).toBe(0);
    expect([await places(), await stack.query("SELECT version FROM schema_migrations")]).toEqual(["500", "4"]);
  });

  it("are shown and brought back when the Docker host has lost them, whole or not at all", async () => {
    const [list = [], fetch = []] = toldCommands("Copies elsewhere").map((command) => argumentsOf(command));
    expect([list.slice(0, 2), fetch.slice(0, 2)]).toEqual([
      ["snapshots", "list"],
      ["snapshots", "fetch"],
    ]);
    const nowhere = await togather(...list);
    expect(nowhere.code, nowhere.stdout).not.toBe(0);
    expect(nowhere.stderr).toMatch(
      /nothing can be read from http\S+\/nowhere: there is no such bucket\s[\s\S]*check database\.snapshot_copy/,
    );
    configure({ snapshot_format: "directory", snapshot_copy: copyTo() });
    const copies = JSON.parse((await togather(...list, "--json")).stdout) as Listed[];
    // When copies were set, the snapshot that was there already went along.
    expect(copies.map(({ file }) => file.replace(/^[^.]*/, ""))).toEqual([".sql.zst.age", ".sql.gz"]);
    const [copy] = copies;
    if (copy === undefined) return;
    expect(copy.file).toMatch(/\.sql\.zst\.age$/);
    const there = await togather(...fetch);
    expect([there.code, there.stdout]).toEqual([0, expect.stringMatching(/ is in \S.* already\./) as unknown]);
    const before = readFileSync(join(backups(), copy.file));
    for (const name of readdirSync(backups())) rmSync(join(backups(), name), { recursive: true });

    // A damaged copy counts as no snapshot here.
    const object = `/data/backups/production/${copy.file}`;
    await started().inside("cp", object, "/tmp/whole");
    await started().inside("truncate", "--size=-10", object);
    const cut = await togather("snapshots", "fetch", copy.id);
    expect(cut.code, cut.stdout).not.toBe(0);
    expect(cut.stderr).toMatch(/is truncated|corrupt/);
    expect(readdirSync(backups())).toEqual([]);
    await started().inside("cp", "/tmp/whole", object);

    const fetched = await togather("snapshots", "fetch", copy.id);
    expect(fetched.code, `${fetched.stdout}\n${fetched.stderr}`).toBe(0);
    expect(sha256(readFileSync(join(backups(), copy.file)))).toBe(sha256(before));
    const verified = await togather("snapshots", "verify", "latest");
    expect(verified.code, `${verified.stdout}\n${verified.stderr}`).toBe(0);
    const unknown = await togather("snapshots", "fetch", "2001");
    expect([unknown.code, unknown.stderr]).toEqual([
      exitCodes.config.code,
      expect.stringMatching(/there is no snapshot 2001\n.*snapshots list --copies/) as unknown,
    ]);
  });

  it("are taken between releases as well", async () => {
    const encrypted = { snapshot_format: "sql.zst", snapshot_recipients: [identity.recipient] };
    configure({ ...encrypted, snapshot_copy: copyTo() });
    const created = await togather("snapshots", "create", "--reason", "by  the\ntest", "--json");
    expect(created.code, `${created.stdout}\n${created.stderr}`).toBe(0);
    const snapshot = await newest();
    expect(JSON.parse(created.stdout)).toMatchObject({
      id: snapshot.id,
      reason: "by the test",
      proof: { verified: true },
      copy: { copied: expect.stringContaining(snapshot.file) as unknown },
    });
    expect(snapshot.file).toMatch(/\.sql\.zst\.age$/);
    expect(sha256(await started().read(`production/${snapshot.file}`))).toBe(
      sha256(readFileSync(join(backups(), snapshot.file))),
    );
    configure({ ...encrypted, snapshot_copy: copyTo({ bucket: "nowhere" }) });
    const alone = await togather("snapshots", "create");
    expect(alone.code).toBe(exitCodes.snapshot.code);
    expect(alone.stderr).toMatch(/NoSuchBucket[\s\S]*is taken, and in .*snapshots list .*, but is not copied/);
    expect((await newest()).manifest.verified_at).toEqual(expect.any(String));
  });

  it("tell no secret", async () => {
    const everything = [
      printed,
      await stack.state(),
      (await stack.togather("logs", "--json")).stdout,
      ...(await stack.snapshots()).map(({ manifest }) => JSON.stringify(manifest)),
    ];
    for (const secret of [
      identity.secret,
      ...Object.values(credentials),
      ...Object.values<string>({ ...stack.canaries }),
    ]) {
      for (const text of everything) expect(text.includes(secret)).toBe(false);
    }
  });
});
