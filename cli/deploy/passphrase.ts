/**
 * Explains Pulumi's error about a wrong passphrase: which one was tried. Where none is set, that is this clone's own
 * passphrase, which no other machine's stack uses.
 */
export function explainPassphrase(said: string, environment: NodeJS.ProcessEnv = process.env): string {
  if (!/incorrect passphrase/.test(said)) return said;
  const { PULUMI_CONFIG_PASSPHRASE: value, PULUMI_CONFIG_PASSPHRASE_FILE: file } = environment;
  const tried =
    value !== undefined
      ? "the one in PULUMI_CONFIG_PASSPHRASE was tried"
      : file !== undefined
        ? `the one in the file ${file} was tried (PULUMI_CONFIG_PASSPHRASE_FILE)`
        : "PULUMI_CONFIG_PASSPHRASE is not set, so that this clone's own was tried (.togather/passphrase)";
  return `${said.trimEnd()}\nIt is not the passphrase that the stack was made with: ${tried}.\n  → set PULUMI_CONFIG_PASSPHRASE, or PULUMI_CONFIG_PASSPHRASE_FILE, to the stack's own`;
}
