import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { formatDatabaseUrl } from "../ops/contract/connection.ts";
import { appRoles, derivedPassword, planAppRole, rotationSentence, type AppRole } from "./app-role.ts";
import { Secret } from "./secrets/secret.ts";

const url = (user: string, password: string): string =>
  formatDatabaseUrl({
    host: "togather-x-db",
    port: 5432,
    user,
    password,
    database: "togather",
    parameters: { sslmode: "disable" },
  });
const derived = (secret: string, role: AppRole | "owner"): string => derivedPassword(new Secret(secret), role).reveal();
/** The server's DATABASE_URL when `secret` was the deployment's password. */
const given = (role: AppRole, secret: string): string => url(role, derived(secret, role));
const [first, second] = appRoles;

describe("the server's role", () => {
  it("has the password that it always had", () => {
    expect(derived("secret", first)).toBe(
      createHmac("sha256", "secret").update("togather role app").digest("base64url"),
    );
    expect(derived("secret", "owner")).toBe(
      createHmac("sha256", "secret").update("togather role owner").digest("base64url"),
    );
    expect(derived("secret", second)).not.toBe(derived("secret", first));
  });

  it.each([
    ["nothing runs", undefined, {}, { role: first, kept: undefined, rotated: false }],
    [
      "nothing has changed",
      "blue",
      { blue: given(first, "new"), green: given(first, "new") },
      { role: first, kept: undefined, rotated: false },
    ],
    [
      "the password is new",
      "blue",
      { blue: given(first, "old"), green: given(first, "old") },
      { role: second, kept: first, rotated: true },
    ],
    [
      "the idle slot has it already",
      "blue",
      { blue: given(first, "old"), green: given(second, "new") },
      { role: second, kept: first, rotated: true },
    ],
    [
      "the slot with it serves",
      "green",
      { blue: given(first, "old"), green: given(second, "new") },
      { role: second, kept: undefined, rotated: true },
    ],
    [
      "both have it",
      "green",
      { blue: given(second, "new"), green: given(second, "new") },
      { role: second, kept: undefined, rotated: false },
    ],
    [
      "it changes once more",
      "green",
      { blue: given(second, "old"), green: given(second, "old") },
      { role: first, kept: second, rotated: true },
    ],
    [
      "it changes twice before a release",
      "blue",
      { blue: given(first, "oldest"), green: given(second, "old") },
      { role: second, kept: first, rotated: true },
    ],
    [
      "the change is taken back",
      "blue",
      { blue: given(first, "new"), green: given(second, "other") },
      { role: first, kept: undefined, rotated: true },
    ],
    ["nothing serves yet", undefined, { blue: given(first, "old") }, { role: first, kept: undefined, rotated: true }],
    [
      "the server has a role of its own",
      "blue",
      { blue: url("somebody", "x") },
      { role: first, kept: undefined, rotated: false },
    ],
  ] as const)("when %s", (_, serving, urls, plan) => {
    expect(planAppRole(new Secret("new"), serving, urls)).toEqual(plan);
  });

  it("says what happens, and what ends the old password", () => {
    const plan = planAppRole(new Secret("new"), "blue", { blue: given(first, "old") });
    expect(rotationSentence(plan, "blue", "production")).toBe(
      "togather:databasePassword has changed. blue serves on with the old password of the role togather_app, which stays valid; green and all else get the new one (role togather_app_2). To end the old one, release again, into green, then deploy once more: npm run togather -- release REF --stack production; npm run togather -- up --stack production",
    );
    expect(
      rotationSentence(planAppRole(new Secret("new"), "blue", { blue: given(first, "new") }), "blue", "production"),
    ).toBeUndefined();
  });
});
