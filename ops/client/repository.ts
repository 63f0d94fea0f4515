/** An image's name without its tag. */
export const repositoryOf = (image: string): string => image.slice(0, image.lastIndexOf(":"));
