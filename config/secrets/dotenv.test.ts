import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDatabaseUrl } from "../../ops/contract/connection.ts";
import { dotenvLine } from "./dotenv.ts";
import { readSecretsFile } from "./secrets.ts";

const odd = fc.constantFrom(...Array.from("%@/:?#$'\"\\ \n\r\t=&;ab"), "`", "\\n", "é", "日本", "🔑");
const value = fc.array(odd, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(""));

/** The content of a secrets file with these lines. */
function read(lines: readonly string[]): ReturnType<typeof readSecretsFile> {
  const directory = mkdtempSync(join(tmpdir(), "togather-dotenv-"));
  try {
    writeFileSync(join(directory, ".env"), lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
    return readSecretsFile(join(directory, ".env"), ".env");
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("a secrets file", () => {
  it("gives every value back as it was written", () => {
    fc.assert(
      fc.property(value, value, (first, second) => {
        let lines: string[];
        try {
          lines = [dotenvLine("FIRST", first), dotenvLine("SECOND", second)];
        } catch {
          // Only values that dotenv's syntax can't express.
          expect(`${first}${second}`).toMatch(/['"`]|\\|\r/);
          return;
        }
        expect(read(lines)).toMatchObject({ file: { values: { FIRST: first, SECOND: second } }, problems: [] });
      }),
      { numRuns: 500 },
    );
  });

  it("holds any database URL, since everything odd in it is encoded", () => {
    fc.assert(
      fc.property(value, (password) => {
        const url = formatDatabaseUrl({
          host: "db",
          port: 5432,
          user: "u",
          password,
          database: "d",
          parameters: { sslmode: "require" },
        });
        expect(dotenvLine("DATABASE_URL", url)).toBe(`DATABASE_URL=${url}`);
        expect(read([`DATABASE_URL=${url}`]).file?.values).toEqual({ DATABASE_URL: url });
      }),
      { numRuns: 200 },
    );
  });

  it("that would lose the end of a value is refused", () => {
    const { problems } = read([
      "# a comment",
      "A=abc#def",
      "B='abc#def'",
      "C=abc # a comment",
      'D="x#y"',
      "export E = p@ss#word",
      "F=#nothing",
      "G: abc#def",
    ]);
    expect(problems.map(({ where }) => where)).toEqual([".env: A", ".env: E", ".env: G"]);
    expect(problems[0]).toMatchObject({
      what: "has a # outside of quotes, where the value would end",
      fix: "put the value in single quotes: A='…'",
    });
  });

  it("with a quote that is never closed is refused", () => {
    const { problems } = read([
      `A='abc`,
      `B="it's"`,
      `C='say "x"'`,
      `D='"x'`,
      `export E="abc'`,
      "F=`x",
      "G=abc'",
      `H: "x`,
      `I: 'x'`,
    ]);
    expect(problems.map(({ where }) => where)).toEqual([".env: A", ".env: E", ".env: F", ".env: H"]);
    expect(problems[0]).toMatchObject({
      what: "begins with a quote that is never closed, which would be part of the value",
      fix: "close it: A='…'",
    });
  });
});
