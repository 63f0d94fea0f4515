/** What the role that migrates needs on an extension's tables in which rows of its own belong: what it may do with those of its own tables. */
export const extensionTableRights = ["SELECT", "INSERT", "UPDATE", "DELETE"] as const;
