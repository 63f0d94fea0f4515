import { labels } from "../../ops/contract/names.ts";
import { tryDocker } from "../../ops/host/docker.ts";

/**
 * A name for which the engine has no deployment yet: a deployment of another clone, or one left behind with a password
 * that only it knew, must not be mistaken for this one.
 */
export async function freeName(wish: string, env: NodeJS.ProcessEnv): Promise<string> {
  const isFree = async (name: string) => {
    const filter = ["--quiet", "--filter", `label=${labels.name}=${name}`];
    const found = await Promise.all(
      [
        ["ps", "--all"],
        ["volume", "ls"],
        ["network", "ls"],
      ].map((list) => tryDocker([...list, ...filter], { env })),
    );
    return found.every(({ stdout }) => stdout === "");
  };
  let name = wish;
  for (let n = 2; !(await isFree(name)); n++) name = `${wish}-${n}`;
  return name;
}
