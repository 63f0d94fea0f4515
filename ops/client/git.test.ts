import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { collect, commitArchive, findCommit } from "./archive.ts";
import { pendingMigrations } from "./pending-migrations.ts";

const bare = { PATH: process.env["PATH"] ?? "", HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" };
let home: string;
let repository: string;
let commit: string;
let expected: Buffer;
const git = (...args: string[]): string =>
  execFileSync("git", ["-C", repository, ...args], {
    encoding: "utf8",
    env: bare,
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "togather-git-"));
  repository = join(home, "repository");
  mkdirSync(repository);
  git("init", "--quiet");
  mkdirSync(join(repository, "migrations"));
  writeFileSync(join(repository, "migrations", "1_a.up.sql"), "SELECT 1;\nSELECT 2;\n");
  writeFileSync(join(repository, "run.sh"), "#!/bin/sh\n");
  writeFileSync(join(repository, ".gitattributes"), "* text=auto\n");
  git("add", ".");
  const identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
  git(...identity, "commit", "--quiet", "--message=1");
  // A signature that can't be checked, made by hand: no key is needed.
  const raw = git("cat-file", "commit", "HEAD");
  const [headers = "", ...message] = raw.split("\n\n");
  const signed = `${headers}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n =AAAA\n -----END PGP SIGNATURE-----\n\n${message.join("\n\n")}\n`;
  writeFileSync(join(home, "commit"), signed);
  commit = git("hash-object", "-t", "commit", "-w", join(home, "commit"));
  git("update-ref", "HEAD", commit);
  expected = await collect(commitArchive(repository, commit, ["."]));
});
afterAll(() => {
  rmSync(home, { recursive: true });
});

const before = { ...process.env };
beforeEach(() => {
  rmSync(join(home, ".gitconfig"), { force: true });
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, before);
});

const lines = (...entries: string[]): string => entries.join("\n");
const settings: [string, string][] = [
  ["nothing", ""],
  ["signatures that are shown", lines("[log]", "showSignature = true")],
  ["line ends of another system", lines("[core]", "autocrlf = true", "eol = crlf")],
  ["attributes of its owner", lines("[core]", "attributesFile = ~/attributes")],
  ["modes of its owner", lines("[tar]", "umask = user")],
  [
    "colours everywhere",
    lines("[color]", "ui = always", "[column]", "ui = always", "tag = always", "[core]", "abbrev = 40"),
  ],
];
const variables: [string, () => Record<string, string>][] = [
  [
    "a hook's repository",
    () => ({ GIT_DIR: join(home, "elsewhere"), GIT_INDEX_FILE: join(home, "index"), GIT_PREFIX: "x/" }),
  ],
  ["another object store", () => ({ GIT_OBJECT_DIRECTORY: join(home, "objects") })],
  [
    "settings by variable",
    () => ({
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: "core.autocrlf",
      GIT_CONFIG_VALUE_0: "true",
      GIT_CONFIG_KEY_1: "log.showSignature",
      GIT_CONFIG_VALUE_1: "true",
    }),
  ],
  ["a repository above it", () => ({ GIT_INTERNAL_SUPER_PREFIX: "above/" })],
  ["paths that are patterns only", () => ({ GIT_ICASE_PATHSPECS: "1" })],
  ["a trace", () => ({ GIT_TRACE: "1" })],
];

async function looksTheSame(): Promise<void> {
  expect(await findCommit(repository, commit)).toEqual({
    id: commit,
    date: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
  });
  expect((await collect(commitArchive(repository, commit, ["."]))).equals(expected)).toBe(true);
  expect(await pendingMigrations({ repository, commit, path: "migrations" }, null)).toEqual(["1_a.up.sql"]);
}

describe("git, whoever calls it", () => {
  it.each(settings)("finds the same with %s in its settings", async (_, text) => {
    writeFileSync(join(home, "attributes"), "*.sql export-ignore\n* eol=crlf\n");
    writeFileSync(join(home, ".gitconfig"), `${text}\n`);
    Object.assign(process.env, { HOME: home, XDG_CONFIG_HOME: home });
    await looksTheSame();
  });

  it.each(variables)("finds the same with %s in its variables", async (_, values) => {
    Object.assign(process.env, values());
    await looksTheSame();
  });

  it("understands what git says in any language", async () => {
    Object.assign(process.env, { LC_ALL: "de_DE.UTF-8", LANGUAGE: "de" });
    await expect(findCommit(home, "0123abc")).rejects.toThrow(
      /is not a git repository, but the release names the commit/,
    );
  });
});
