/** Content hashes of this project's own images: what decides whether one is built again. Fast, for previews. */
import { imageRepository } from "./contract/names.ts";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Directory of the Pulumi project. */
export const projectDirectory = dirname(dirname(fileURLToPath(import.meta.url)));
export type BundledImage = "ops" | "postgres" | "nginx" | "dev";

/** Packages that become part of the program in the ops image, and what bundles it. */
const bundledPackages = ["esbuild", "execa", "pg", "pino", "zod"];

/** Files below a directory that go into an image, in a fixed order. Neither dot files nor the bundle itself. */
function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Sources of the program in the container: what both sides read, and its own. Tests don't change it. */
function stepSources(): string[] {
  return ["contract", "container"]
    .flatMap((room) => filesBelow(join(projectDirectory, "ops", room)))
    .filter((file) => !file.endsWith(".test.ts"));
}

interface LockFile {
  packages: Record<string, { version?: string; integrity?: string; dependencies?: Record<string, string> }>;
}

/** `name@version integrity` of the bundled packages and of all that they depend on. */
function bundledVersions(): string[] {
  const lock = JSON.parse(readFileSync(join(projectDirectory, "package-lock.json"), "utf8")) as LockFile;
  const seen = new Map<string, string>();
  const visit = (name: string): void => {
    const entry = lock.packages[`node_modules/${name}`];
    if (seen.has(name) || entry === undefined) return;
    seen.set(name, `${name}@${entry.version ?? ""} ${entry.integrity ?? ""}`);
    Object.keys(entry.dependencies ?? {}).forEach(visit);
  };
  bundledPackages.forEach(visit);
  return [...seen.values()].sort();
}

/** The content hash of an image's sources, in hexadecimal digits. The first 12 are its tag. */
export function bundledImageDigest(image: BundledImage): string {
  const hash = createHash("sha256");
  const files = filesBelow(join(projectDirectory, "images", image)).filter((file) => !file.endsWith(".test.ts"));
  if (image === "ops") {
    files.push(...stepSources());
    hash.update(bundledVersions().join("\n"));
  }
  for (const file of files) {
    const content = readFileSync(file);
    hash.update(`${relative(projectDirectory, file).split(sep).join("/")}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** The tag of one of this project's images. */
export function bundledImageTag(image: BundledImage, digest = bundledImageDigest(image)): string {
  return `${imageRepository(image)}:${digest.slice(0, 12)}`;
}
