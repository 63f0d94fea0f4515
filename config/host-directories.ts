import type { DeploymentFile } from "./schema/deployment-file.ts";

/** Directories on the Docker host that hold a deployment's state and logs. */
export interface HostDirectories {
  stateLocation: string;
  logLocation: string;
}

/** Where a deployment keeps them: its state apart by name, its logs beside those of others, since their names are unique. */
export function hostDirectories(deployment: DeploymentFile, name: string): HostDirectories {
  return { stateLocation: `${deployment.state.location}/${name}`, logLocation: deployment.logging.location };
}
