/** Sets the password of the bundled database's superuser from inside its container, where no password is needed. */
import { StepError } from "../contract/errors.ts";
import { lastLines, tryDocker } from "./docker.ts";

/**
 * Sets it, whatever it was before.
 * @throws {StepError} with the message of PostgreSQL or Docker.
 */
export async function setSuperuserPassword({
  container,
  host,
  password,
}: {
  container: string;
  host: string;
  password: string;
}): Promise<void> {
  const literal = `'${password.replaceAll("'", "''")}'`;
  const sql = [
    "SET log_statement = 'none'",
    "SET log_min_error_statement = 'panic'",
    "SET standard_conforming_strings = on",
    `ALTER ROLE CURRENT_USER PASSWORD ${literal}`,
  ];
  const { ok, stderr } = await tryDocker(
    [
      "exec",
      "--interactive",
      "--user=postgres",
      container,
      "psql",
      "-qAtX",
      "--set=ON_ERROR_STOP=1",
      "--dbname=postgres",
    ],
    { host, input: `${sql.join(";\n")};\n`, hide: [literal, password] },
  );
  if (ok) return;
  throw new StepError(
    `togather:databasePassword has changed, and the superuser of ${container} can't be given the new one: ${lastLines(stderr, 2)}`,
    {
      hint: `docker logs --tail 20 ${container}`,
    },
  );
}
