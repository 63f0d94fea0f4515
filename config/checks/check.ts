import type { UrlCheck } from "../database-access.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import type { Problem } from "../problems.ts";
import type { SlotRelease } from "../release.ts";
import type { DeploymentFile } from "../schema/deployment-file.ts";
import type { EnvironmentRules, Severity } from "../schema/environments.ts";
import type { StackSettings } from "../schema/stack-settings.ts";
import type { SecretMemory } from "../secrets/secret-memory.ts";
import type { OwnSecret, ResolvedSecrets } from "../secrets/secrets.ts";
import type { TlsPair } from "../tls.ts";

/** A stack's settings and values derived from them, before they are checked. */
export interface Given {
  stack: StackSettings;
  rules: EnvironmentRules;
  /** Undefined where deployment.yml can't be read. */
  deployment: DeploymentFile | undefined;
  secrets: ResolvedSecrets;
  /** The secrets that this deployment's owner chose; of a URL, its password. */
  own: readonly OwnSecret[];
  /** This checkout's record of secrets. */
  memory: SecretMemory;
  /** The database URLs that are set. */
  urls: readonly UrlCheck[];
  slots: Partial<Record<SlotName, SlotRelease>>;
  tls: TlsPair | undefined;
  /** Whether certificate and key could be read; the reading error is reported already. */
  tlsIsRead: boolean;
  secretsFile: string;
  projectDirectory: string;
}

/** A problem with its severity: it stops the deployment, is a warning, or is ignored. */
export interface Finding extends Problem {
  severity: Severity;
}

/** Checks one subject of the settings. It changes nothing and asks no other machine. */
export type Check = (given: Given) => readonly Finding[];

/** Problems that are errors in every environment. */
export const errors = (problems: readonly Problem[]): Finding[] => found("error", problems);

/** Problems of one severity. */
export const found = (severity: Severity, problems: readonly Problem[]): Finding[] =>
  problems.map((problem) => ({ ...problem, severity }));
