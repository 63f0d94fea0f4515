import js from "@eslint/js";
import tseslint from "typescript-eslint";

/**
 * A wall between rooms: what files below `room` may not import.
 * @param rooms names of folders, as they stand in a relative path.
 */
const wall = (room, rooms, why, packages = []) => ({
  files: [`${room}/**/*.ts`, `${room}/**/*.mjs`],
  ignores: ["**/*.test.ts"],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          { regex: `^(\\.\\./)+(${rooms.join("|")})/`, message: why },
          ...packages.map((name) => ({ regex: `^${name}`, message: why })),
        ],
      },
    ],
  },
});
const program = ["config", "components", "stack", "cli", "toolchain"];

export default tseslint.config(
  { ignores: ["node_modules/", ".togather/", "bench-results/", "components/nginx/*.js"] },
  js.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Numbers in messages are what a tired reader needs; they need no String() around them.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/no-unnecessary-condition": ["error", { allowConstantLoopConditions: true }],
    },
  },
  {
    files: ["**/*.mjs", "**/*.js"],
    languageOptions: { globals: { process: "readonly", console: "readonly", URL: "readonly" } },
  },
  wall("ops/contract", ["container", "client", "host", "lint", ...program], "The contract is what all others read.", [
    "@pulumi",
  ]),
  wall(
    "ops/container",
    ["client", "host", "lint", ...program],
    "The ops image is made of contract/ and container/ alone.",
    ["@pulumi"],
  ),
  wall("ops/lint", ["container", "client", "host", ...program], "The lint reads texts, on this machine.", ["@pulumi"]),
  wall(
    "ops/host",
    ["container", "client", "lint", ...program],
    "The Docker host is asked before Pulumi's SDK is loaded.",
    ["@pulumi"],
  ),
  wall("ops/client", ["container", ...program], "The client and the container share the contract.", ["@pulumi"]),
  wall(
    "config",
    ["container", "client", "components", "stack", "cli", "toolchain"],
    "Settings are read before anything is made of them.",
  ),
  wall("components", ["container", "stack", "cli", "toolchain", "lint"], "A component is given what it needs."),
  wall("stack", ["container", "cli", "toolchain"], "The program runs without the command."),
  wall("cli", ["container", "components", "stack"], "What the program does is the program's.", [
    "@pulumi/docker",
    "@pulumi/command",
    "@pulumi/postgresql",
  ]),
  {
    files: ["components/**/*.ts"],
    ignores: ["**/*.test.ts", "components/nginx/config.ts"],
    rules: {
      "no-restricted-globals": [
        "error",
        { name: "process", message: "Components read no environment: pass it as an argument." },
      ],
      "no-restricted-properties": [
        "error",
        { object: "pulumi", property: "Config", message: "Components read no config: pass it as an argument." },
      ],
    },
  },
  {
    files: ["stack/**/*.ts", "components/**/*.ts"],
    ignores: ["**/*.test.ts", "stack/secret-output.ts"],
    rules: {
      "no-restricted-syntax": [
        "error",
        {
          selector: "MemberExpression[property.name='reveal']",
          message: "The program hands secrets on as outputs: stack/secret-output.ts.",
        },
      ],
    },
  },
);
