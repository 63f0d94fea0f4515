interface Packages {
  packages: Record<string, { version: string; optional?: boolean }>;
}

export function isAtLeast(version: string, wanted: string): boolean;
export function packagesMatch(lock: Packages, installed: Packages | undefined): boolean;
