import { execa } from "execa";
import { bundledImageTag } from "../../ops/image.ts";

/** A new key pair of age, made in the ops image. */
export async function makeIdentity(): Promise<{ secret: string; recipient: string }> {
  const { stdout, stderr } = await execa("docker", [
    "run",
    "--rm",
    "--network=none",
    "--entrypoint=age-keygen",
    bundledImageTag("ops"),
  ]);
  const [secret] = /^AGE-SECRET-KEY-1\w+$/m.exec(stdout) ?? [];
  const [recipient] = /age1\w+/.exec(stdout) ?? [];
  if (secret === undefined || recipient === undefined) throw new Error(`age-keygen printed no key pair: ${stderr}`);
  return { secret, recipient };
}
