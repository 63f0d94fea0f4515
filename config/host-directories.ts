import type { DeploymentFile } from "./schema/deployment-file.ts";

/** Directories on the Docker host that hold a deployment's state and logs. */
export interface HostDirectories {
  stateLocation: string;
  logLocation: string;
}

/**
 * The directories of a deployment. Its state has its own directory; its logs are beside those of other deployments,
 * since their names are unique.
 */
export function hostDirectories(deployment: DeploymentFile, name: string): HostDirectories {
  return { stateLocation: `${deployment.state.location}/${name}`, logLocation: deployment.logging.location };
}
