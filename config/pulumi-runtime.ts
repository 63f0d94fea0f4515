/**
 * The part of Pulumi's SDK that is already loaded when a program begins. Loading the rest takes as long as an answer of
 * the Docker host, which is asked meanwhile: code that runs before that imports this file, and not the whole SDK.
 */
export { RunError } from "@pulumi/pulumi/errors.js";
export * as log from "@pulumi/pulumi/log/index.js";
export { allConfig } from "@pulumi/pulumi/runtime/config.js";
export { getEngine, getOrganization, getProject, getStack, isDryRun } from "@pulumi/pulumi/runtime/settings.js";
