/** Network settings that builds need, passed on by name. A value with credentials is a secret, and is not passed on. */
const names = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "GOPROXY"];

/** The variables that are set and may be passed on. */
export function networkVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name] ?? "";
      return value === "" || value.includes("@") ? [] : [[name, value]];
    }),
  );
}
