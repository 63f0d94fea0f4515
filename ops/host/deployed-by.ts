import { userInfo } from "node:os";

/** The person who deploys: as configured, the CI system's actor, or the user of the machine. */
export function deployedBy(env: NodeJS.ProcessEnv): string {
  for (const name of ["TOGATHER_DEPLOYED_BY", "GITHUB_ACTOR", "GITLAB_USER_LOGIN"]) {
    const value = env[name]?.trim();
    if (value !== undefined && value !== "") return value;
  }
  try {
    return userInfo().username;
  } catch {
    // A user id without a name, as in containers.
    return env["USER"] ?? "unknown";
  }
}
