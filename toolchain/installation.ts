/** A Pulumi CLI that has the plugins this project needs. */
export interface Installation {
  kind: "official" | "downloaded" | "built";
  /** Full path of the CLI. */
  command: string;
  version: string;
  /** PULUMI_HOME where it's the project's own, so that what was built never shadows a user's official plugins. */
  home?: string;
  /** Of a build. */
  key?: string;
}
