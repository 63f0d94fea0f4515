import { createHmac } from "node:crypto";
import type { Containers } from "../ops/host/serving-slot.ts";
import { otherSlot } from "../ops/contract/release.ts";
import { Secret } from "./secrets/secret.ts";
import { slotNames, type SlotName } from "../ops/contract/steps.ts";

/** Login roles of the server. The second one is there only while `databasePassword` has changed: a role has one password, and the slot that serves keeps its own. */
export const appRoles = ["togather_app", "togather_app_2"] as const;
export type AppRole = (typeof appRoles)[number];

/** A role's password: derived, so that there is one secret to keep, and no role's password tells another's. */
export function derivedPassword(password: Secret, role: "owner" | AppRole): Secret {
  const label = { owner: "owner", togather_app: "app", togather_app_2: "app 2" }[role];
  return new Secret(createHmac("sha256", password.reveal()).update(`togather role ${label}`).digest("base64url"));
}

/** Which role the servers of this run log in as. */
export interface AppRolePlan {
  role: AppRole;
  /** The role as which the slot that serves goes on logging in, with an older password, which stays; undefined where it is no other. */
  kept: AppRole | undefined;
  /** Some server has an older password, so that the superuser may have it too. */
  rotated: boolean;
}

/** Where nothing has changed, and where the roles are somebody else's. */
export const firstRole: AppRolePlan = { role: "togather_app", kept: undefined, rotated: false };

/** As which role a server logs in, and whether with today's password; undefined where that is none of ours. */
function loginOf(url: string | undefined, password: Secret): { role: AppRole; current: boolean } | undefined {
  // As `formatDatabaseUrl` writes it: our passwords have no character that is encoded.
  const [, user, secret] = /^postgresql:\/\/([^:@/]+):([^:@/]+)@/.exec(url ?? "") ?? [];
  const role = appRoles.find((one) => one === user);
  return role && { role, current: secret === derivedPassword(password, role).reveal() };
}

/**
 * Plans the roles by what the servers that run were given.
 * @param serving the slot that serves; undefined where none does.
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

/** A warning for people about a changed password and the slot that serves; undefined when there is nothing to say. */
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
