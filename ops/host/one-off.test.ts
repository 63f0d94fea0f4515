import { expect, it } from "vitest";
import { oneOffArguments } from "./one-off.ts";

it("confines what it runs, whatever it is", () => {
  for (const one of [{}, { interactive: true, pull: true, options: ["--init"], program: ["sh", "-c", "true"] }]) {
    const args = oneOffArguments({ image: "image", network: "none", ...one });
    expect(args).toEqual(
      expect.arrayContaining([
        ...["run", "--rm", "--network=none", "--log-driver=none"],
        ...["--read-only", "--security-opt=no-new-privileges", "--cap-drop=ALL"],
      ]),
    );
  }
});

it("has all that it is told before the image, and the program's arguments behind it", () => {
  const args = oneOffArguments({
    image: "image",
    network: "container:other",
    name: "name",
    labels: { a: "b=c d" },
    interactive: true,
    capabilities: ["CHOWN"],
    mounts: [
      { type: "bind", source: "/a b", target: "/logs", readonly: false },
      { type: "volume", source: "v", target: "/router", readonly: true },
    ],
    variables: ["SECRET"],
    options: ["--init"],
    program: ["sh", "-c", 'cat >> "$0"', "--rm"],
  });
  expect(args.slice(0, 5)).toEqual(["run", "--rm", "--interactive", "--pull=never", "--name=name"]);
  expect(args.slice(args.indexOf("--cap-drop=ALL"))).toEqual([
    "--cap-drop=ALL",
    "--cap-add=CHOWN",
    "--mount=type=bind,source=/a b,target=/logs",
    "--mount=type=volume,source=v,target=/router,readonly",
    "--env=SECRET",
    "--init",
    "--entrypoint=sh",
    "image",
    "-c",
    'cat >> "$0"',
    "--rm",
  ]);
});

it("leaves the image its own entry point where no other program is named, and pulls only where it is told to", () => {
  const args = oneOffArguments({ image: "image", network: "host", command: ["gate"], pull: true });
  expect(args.slice(-2)).toEqual(["image", "gate"]);
  expect(args.filter((arg) => /pull|entrypoint|interactive/.test(arg))).toEqual([]);
});
