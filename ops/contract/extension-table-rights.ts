/**
 * Rights that the role that migrates needs on an extension's tables with rows of users: the same as on its own tables.
 */
export const extensionTableRights = ["SELECT", "INSERT", "UPDATE", "DELETE"] as const;
