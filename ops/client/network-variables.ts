/** Settings of the network that builds need, handed on by name. One that holds credentials is a secret, and is not. */
const names = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "GOPROXY"];

/** Those that are set and may be handed on. */
export function networkVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name] ?? "";
      return value === "" || value.includes("@") ? [] : [[name, value]];
    }),
  );
}
