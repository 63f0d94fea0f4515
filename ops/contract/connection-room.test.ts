import { describe, expect, it } from "vitest";
import { poolSize, roomProblems, type ConnectionRoom, type RoleRoom } from "./connection-room.ts";

const room: ConnectionRoom = { max: 100, reserved: 3, others: 0, databaseLimit: -1 };
const role = (name: string, limit = -1, superuser = false): RoleRoom => ({ role: name, limit, superuser });
const told = (
  over: Partial<ConnectionRoom>,
  { app = role("app"), owner = role("owner"), pool }: { app?: RoleRoom; owner?: RoleRoom; pool?: number } = {},
): string[] =>
  roomProblems({ ...room, ...over }, { app, owner, database: "events", pool }).map(
    ({ level, what, fix }) => `${level}: ${what} -> ${fix}`,
  );

describe("room for connections", () => {
  it("is enough where nothing limits it", () => {
    expect(told({})).toEqual([]);
    expect(told({}, { pool: 26 })).toEqual([]);
  });
  it("is told with numbers where the server has too few", () => {
    expect(told({}, { pool: 27 })).toEqual([
      "warning: max_connections is 100, of which 3 are kept for superusers; a release can take 81 (three times the server's pool of 27) and 20 for the steps and everybody else -> raise max_connections on the database's server to 101 or more, or give the server a smaller pool",
    ]);
    expect(told({ others: 30 }, { pool: 20 })).toEqual([
      expect.stringMatching(/^warning: .*and 30 are used by other databases now; .* to 110 or more/),
    ]);
    expect(told({ max: 6 })).toEqual([
      expect.stringMatching(/^error: max_connections is 6.*a release takes 4 at least/),
    ]);
  });
  it.each<[string, Partial<ConnectionRoom>, Parameters<typeof told>[1], RegExp | undefined]>([
    [
      "the server's role",
      {},
      { app: role('a"b', 1) },
      /^error: the role a"b .* LIMIT of 1: .* 2 .* -> ALTER ROLE "a""b" CONNECTION LIMIT -1;/,
    ],
    [
      "the server's role, of a known pool",
      {},
      { app: role("app", 59), pool: 20 },
      /^warning: the role app .* -> ALTER ROLE "app" CONNECTION LIMIT 60;/,
    ],
    ["the server's role, enough", {}, { app: role("app", 60), pool: 20 }, undefined],
    ["the role of migrations", {}, { owner: role("owner", 1) }, /^error: the role owner /],
    ["the role of migrations, enough", {}, { owner: role("owner", 2) }, undefined],
    [
      "one role for all",
      {},
      { app: role("one", 2), owner: role("one", 2) },
      /^error: the role one .* 3 of them at least/,
    ],
    ["a superuser", {}, { app: role("one", 1, true), owner: role("one", 1, true) }, undefined],
    [
      "the database",
      { databaseLimit: 2 },
      {},
      /^error: the database events .* -> ALTER DATABASE "events" CONNECTION LIMIT -1;/,
    ],
    [
      "the database, of a known pool",
      { databaseLimit: 50 },
      { pool: 20 },
      /^warning: the database events .* CONNECTION LIMIT 80;/,
    ],
  ])("goes by the limit of %s", (_name, over, roles, expected) => {
    expect(told(over, roles)).toEqual(expected === undefined ? [] : [expect.stringMatching(expected)]);
  });
});

it("knows the pool by what the server is told", () => {
  const settings = { DATABASE_MAX_CONNECTIONS: "50" };
  expect(poolSize("postgresql://a@b/c?sslmode=disable&pool_max_conns=7", settings)).toBe(7);
  expect(poolSize("postgresql://a@b/c", settings)).toBe(50);
  expect([poolSize(undefined, {}), poolSize("", { DATABASE_MAX_CONNECTIONS: "many" })]).toEqual([undefined, undefined]);
});
