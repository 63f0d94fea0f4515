import { unknownPlaceholders } from "../placeholders.ts";
import type { Problem } from "../problems.ts";
import type { StackSettings } from "../schema/stack-settings.ts";
import { taskProblems } from "../schema/tasks.ts";
import { errors, type Check } from "./check.ts";

/** Variables of the server that the deployment sets itself: nobody else may set them. */
export function reservedVariables({
  portVariable,
  unreadSecrets,
}: Pick<StackSettings["source"], "portVariable" | "unreadSecrets">): string[] {
  const unread: readonly string[] = unreadSecrets;
  return ["DATABASE_URL", "JWT_SECRET", "ADMIN_API_KEY", "SLOT", portVariable].filter((name) => !unread.includes(name));
}

/** Problems of the server's own variables and secrets together. */
function serverProblems({ source, secrets }: StackSettings): Problem[] {
  const reserved = reservedVariables(source);
  const set = [
    ...Object.keys(source.environment).map((name) => ({ name, key: `environment.${name}` })),
    ...source.secrets.map((name, index) => ({ name, key: `secrets[${index}]` })),
  ];
  return [
    ...set
      .filter(({ name }) => reserved.includes(name))
      .map(({ name, key }) => ({
        where: `togather:source.${key}`,
        what: `${name} is set by the deployment itself`,
        fix: "leave it out here",
      })),
    ...source.secrets
      .filter((name) => name in source.environment)
      .map((name) => ({
        where: `togather:source.environment.${name}`,
        what: "is in togather:source.secrets too",
        fix: "leave it out in one of them",
      })),
    ...Object.keys(source.secretLengths)
      .filter((name) => !source.secrets.includes(name))
      .map((name) => ({
        where: `togather:source.secretLengths.${name}`,
        what: "is not among togather:source.secrets",
        fix: `pulumi config set --path togather:source.secrets[${source.secrets.length}] ${name}`,
      })),
    ...Object.keys(secrets)
      .filter((name) => !source.secrets.includes(name))
      .map((name) => ({
        where: `togather:secrets.${name}`,
        what: "is not among togather:source.secrets, so that the server would not get it",
        fix: `pulumi config set --path togather:source.secrets[${source.secrets.length}] ${name}`,
      })),
  ];
}

/** The server's variables, secrets and tasks. */
export const checkServer: Check = ({ stack }) =>
  errors([...serverProblems(stack), ...taskProblems(stack.source.tasks), ...unknownPlaceholders(stack)]);
