/** The last part of a stack's name: the file backend and the service know stacks as organization/project/stack too. */
export const shortName = (stack: string): string => stack.split("/").at(-1) ?? stack;
