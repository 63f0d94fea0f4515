/**
 * What of Pulumi's SDK is in memory when a program begins. The rest takes as long to load as the Docker host to answer,
 * which is asked meanwhile: what is needed before that imports this, and not the whole.
 */
export { RunError } from "@pulumi/pulumi/errors.js";
export * as log from "@pulumi/pulumi/log/index.js";
export { allConfig } from "@pulumi/pulumi/runtime/config.js";
export { getEngine, getOrganization, getProject, getStack, isDryRun } from "@pulumi/pulumi/runtime/settings.js";
