interface Packages {
  packages: Record<string, { version: string; optional?: boolean }>;
}

export function packagesMatch(lock: Packages, installed: Packages | undefined): boolean;

export function bootstrap(args: readonly string[]): Promise<void>;
