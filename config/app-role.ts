import { createHmac } from "node:crypto";
import type { Containers } from "../ops/host/serving-slot.ts";
import { otherSlot } from "../ops/contract/release.ts";
import { Secret } from "./secrets/secret.ts";
import { slotNames, type SlotName } from "../ops/contract/steps.ts";

/**
 * Login roles of the server. The second one is used only while `databasePassword` has changed: a role has one password,
 * and the slot that serves keeps its old one.
 */
export const appRoles = ["togather_app", "togather_app_2"] as const;
export type AppRole = (typeof appRoles)[number];

/** A role's password. It is derived: there is one secret to keep, and no role's password reveals another's. */
export function derivedPassword(password: Secret, role: "owner" | AppRole): Secret {
  const label = { owner: "owner", togather_app: "app", togather_app_2: "app 2" }[role];
  return new Secret(createHmac("sha256", password.reveal()).update(`togather role ${label}`).digest("base64url"));
}

/** The role that the servers of this run log in with. */
export interface AppRolePlan {
  role: AppRole;
  /** The role with an older password that the slot that serves goes on using. Undefined: it uses no other role. */
  kept: AppRole | undefined;
  /** Some server has an older password: the superuser may have it too. */
  rotated: boolean;
}

/** The plan where nothing has changed, and for an external database. */
export const firstRole: AppRolePlan = { role: "togather_app", kept: undefined, rotated: false };

/** The role that a server logs in with, and whether it has the current password. Undefined: none of our roles. */
function loginOf(url: string | undefined, password: Secret): { role: AppRole; current: boolean } | undefined {
  // In the form that `formatDatabaseUrl` writes: our passwords have no characters that are encoded.
  const [, user, secret] = /^postgresql:\/\/([^:@/]+):([^:@/]+)@/.exec(url ?? "") ?? [];
  const role = appRoles.find((one) => one === user);
  return role && { role, current: secret === derivedPassword(password, role).reveal() };
}

/**
 * Plans the roles from the URLs of the running servers.
 * @param serving the slot that serves; undefined: none.
 */
export function planAppRole(
  password: Secret,
  serving: SlotName | undefined,
  databaseUrls: Containers["databaseUrls"],
): AppRolePlan {
  const logins = slotNames.map((slot) => loginOf(databaseUrls[slot], password));
  const rotated = logins.some((login) => login?.current === false);
  const login = serving && loginOf(databaseUrls[serving], password);
  if (login === undefined) return { ...firstRole, rotated };
  if (login.current) return { role: login.role, kept: undefined, rotated };
  return { role: login.role === "togather_app" ? "togather_app_2" : "togather_app", kept: login.role, rotated };
}

/** A warning about a changed password and the slot that serves. Undefined: none. */
export function rotationSentence(
  { kept, role }: AppRolePlan,
  serving: SlotName | undefined,
  stack: string,
): string | undefined {
  if (kept === undefined || serving === undefined) return undefined;
  const idle = otherSlot(serving);
  return (
    `togather:databasePassword has changed. ${serving} serves on with the old password of the role ${kept}, which stays valid; ${idle} and all else get the new one (role ${role}). ` +
    `To end the old one, release again, into ${idle}, then deploy once more: npm run togather -- release REF --stack ${stack}; npm run togather -- up --stack ${stack}`
  );
}
