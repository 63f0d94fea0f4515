import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StackFile } from "./stack-file.ts";

let project: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "togather-stack-file-"));
});
afterEach(() => {
  rmSync(project, { recursive: true, force: true });
});

const file = () => join(project, "Pulumi.production.yaml");
function open(text: string): StackFile {
  writeFileSync(file(), text);
  return StackFile.open(project, "production");
}
const v14 = { version: "v1.4.0", commit: "1a2b3c4d5e6f1a2b3c4d5e6f1a2b3c4d5e6f1a2b" };

const handWritten = `# Who may deploy: see the wiki.
encryptionsalt: v1:abc
config:
  togather:environment: production # the strict rules
  togather:activeSlot: blue # flip to release

  # Two releases at a time.
  togather:slots:
    blue: { version: v1.3.2, commit: "9f8e7d6" } # good since June
    green: { version: v1.2.0, commit: "0000111" } # old
  togather:jwtSecret:
    secure: v1:xyz
`;

describe("a stack file", () => {
  it("keeps the line ends and the byte order mark of its editor", () => {
    const windows = `\uFEFF${handWritten.replaceAll("\n", "\r\n")}`;
    const stack = open(windows);
    stack.setActiveSlot("green");
    stack.save();
    expect(readFileSync(file(), "utf8")).toBe(windows.replace("activeSlot: blue", "activeSlot: green"));
  });

  it("gets a release and keeps every comment, blank line and style", () => {
    const stack = open(handWritten);
    stack.setSlot("green", v14);
    stack.setActiveSlot("green");
    stack.save();
    expect(readFileSync(file(), "utf8")).toBe(
      handWritten
        .replace('green: { version: v1.2.0, commit: "0000111" }', `green: { version: v1.4.0, commit: "${v14.commit}" }`)
        .replace("activeSlot: blue", "activeSlot: green"),
    );
  });

  it("keeps comments, spaces and indents where their author has put them", () => {
    const lines = [
      "---",
      "# first",
      "config:",
      "  togather:environment: production   # behind more spaces",
      "  togather:activeSlot: blue # which",
      "",
      "  # before the slots",
      "  togather:slots:",
      "    blue: # behind a key",
      `      commit: ${"1".repeat(40)} # in a slot`,
      "      version: v1.0.0",
      "  # before a list",
      "  togather:listenAddress: [ 10.0.0.1,10.0.0.2 ]",
      "  togather:source:",
      "    paths:",
      "    - server",
      "    -   migrations",
      "# last, with no end of the line",
    ];
    const file = open(lines.join("\n"));
    expect(file.text).toBe(lines.join("\n"));
    file.setSlot("green", { version: "v2.0.0", commit: "2".repeat(40) });
    file.setActiveSlot("green");
    const changed = [...lines];
    changed[4] = "  togather:activeSlot: green # which";
    changed.splice(11, 0, "    green:", "      version: v2.0.0", `      commit: "${"2".repeat(40)}"`);
    expect(file.text.split("\n")).toEqual(changed);
  });

  it("is written by the library where its layout does not take a change", () => {
    const file = open(`config:\n    togather:slots: {blue: {version: v1.0.0, commit: ${"1".repeat(40)}}}\n`);
    file.setActiveSlot("blue");
    expect(file.text).toContain("  togather:activeSlot: blue\n");
    expect(file.value("activeSlot")).toBe("blue");
  });

  it("changes nothing when nothing is changed", () => {
    const stack = open(handWritten);
    stack.setActiveSlot("blue");
    stack.setSlot("blue", { version: "v1.3.2", commit: "9f8e7d6" });
    expect(stack.text).toBe(handWritten);
  });

  it("gets its first release where there are only comments", () => {
    const stack = open("# the first release:\nconfig:\n  togather:environment: production\n  # togather:slots:\n");
    stack.setSlot("blue", v14);
    expect(stack.text).toContain(
      `  togather:slots:\n    blue:\n      version: v1.4.0\n      commit: "${v14.commit}"\n`,
    );
    expect(stack.text).toContain("# the first release:");
    for (const empty of ["config:\n  togather:slots: {}\n", "config:\n  togather:slots:\n", "config:\n", ""]) {
      const one = open(empty);
      one.setSlot("green", v14);
      one.setActiveSlot("green");
      expect(one.text, JSON.stringify(empty)).toMatch(
        /togather:slots:\n {4}green:\n {6}version: v1.4.0\n {6}commit: "1a2b/,
      );
      expect(one.text).toContain("togather:activeSlot: green");
    }
  });

  it("swaps a commit for an image and back", () => {
    const stack = open(handWritten);
    const image = `registry.example.org/server@sha256:${"a".repeat(64)}`;
    stack.setSlot("green", { version: "v1.5.0", image });
    expect(stack.settings().slots.green).toEqual({ version: "v1.5.0", image });
    stack.setSlot("green", v14);
    expect(stack.settings().slots.green).toEqual(v14);
  });

  it("quotes what YAML would take for a number", () => {
    const stack = open(handWritten);
    for (const [version, commit] of [
      ["1.0", "1234567"],
      ["0o17", "12e4567"],
      ["1_000", "0000000"],
      ["yes", "1234e56"],
    ] as const) {
      stack.setSlot("green", { version, commit });
      stack.save();
      expect(StackFile.open(project, "production").settings().slots.green).toEqual({ version, commit });
      expect(stack.text).toContain(`{ version: "${version}", commit: "${commit}" }`);
    }
  });

  it("can be emptied of a slot", () => {
    const stack = open(handWritten);
    stack.setSlot("green", undefined);
    expect(stack.settings().slots).toEqual({ blue: { version: "v1.3.2", commit: "9f8e7d6" } });
  });

  it("is written as a whole, with the mode that it had", () => {
    const stack = open(handWritten);
    const mode = statSync(file()).mode;
    stack.setActiveSlot("green");
    stack.save();
    expect(statSync(file()).mode).toBe(mode);
  });

  it("overrides a copy, and itself never", async () => {
    const stack = open(handWritten);
    const once = stack.copy();
    once.override("force", true);
    let path = "";
    await once.withCopy((copy) => {
      path = copy;
      expect(readFileSync(copy, "utf8")).toContain("togather:force: true");
      expect(readFileSync(copy, "utf8")).toContain("encryptionsalt: v1:abc");
      expect(statSync(copy).mode & 0o777).toBe(0o600);
      return Promise.resolve();
    });
    expect(() => statSync(path)).toThrow();
    expect(stack.text).toBe(handWritten);
    expect(readFileSync(file(), "utf8")).toBe(handWritten);
  });

  it("knows where the host keeps things, without any secret", () => {
    const settings = open(`${handWritten}  togather:deployment: { state: { location: /srv/state } }\n`).settings();
    expect(settings).toMatchObject({
      name: "production",
      stateLocation: "/srv/state/production",
      logLocation: "/var/log/togather/deployments",
      jwtSecret: "",
    });
  });

  it("takes numbers that `pulumi config set` wrote as texts", () => {
    expect(
      open('config:\n  togather:environment: staging\n  togather:databasePort: "15999"\n').settings().databasePort,
    ).toBe(15_999);
  });

  it("is told from one that is missing, no YAML, or wrong", () => {
    expect(() => StackFile.open(project, "production")).toThrow(/there is no Pulumi\.production\.yaml/);
    open(handWritten);
    expect(() => StackFile.open(project, "prodction")).toThrow(
      expect.objectContaining({ fix: "--stack production", ending: "config" }),
    );
    expect(() => StackFile.open(project, "prod")).toThrow(expect.objectContaining({ fix: "--stack production" }));
    expect(() => open("config: {\n")).toThrow(/Pulumi\.production\.yaml is not YAML/);
    expect(() => open("config:\n  togather:enviroment: production\n").settings()).toThrow(/did you mean environment\?/);
  });

  it("gives the values of a file that is not saved, without what Pulumi keeps encrypted", () => {
    const file = open(
      "config:\n  togather:environment: staging\n  togather:jwtSecret:\n    secure: v1:abc\n  togather:secrets: { CSRF_KEY: { secure: v1:def }, OTHER: plain }\n",
    );
    file.setSlot("blue", { version: "v1.0.0", commit: "0123abc" });
    expect(file.plainConfig).toEqual({
      environment: "staging",
      slots: '{"blue":{"version":"v1.0.0","commit":"0123abc"}}',
    });
  });

  it("says whether Pulumi has made a stack for it", () => {
    expect(open(handWritten).belongsToAStack).toBe(true);
    expect(open("config: {}\n").belongsToAStack).toBe(false);
  });
});
