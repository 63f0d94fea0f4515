import { describe, expect, it } from "vitest";
import { explainPassphrase } from "./passphrase.ts";

const said = "error: getting stack configuration: get stack secrets manager: incorrect passphrase";

describe("a passphrase that does not fit", () => {
  it.each([
    [{}, "PULUMI_CONFIG_PASSPHRASE is not set, so that this clone's own was tried (.togather/passphrase)"],
    [{ PULUMI_CONFIG_PASSPHRASE: "" }, "the one in PULUMI_CONFIG_PASSPHRASE was tried"],
    [{ PULUMI_CONFIG_PASSPHRASE: "canary" }, "the one in PULUMI_CONFIG_PASSPHRASE was tried"],
    [{ PULUMI_CONFIG_PASSPHRASE_FILE: "/run/p" }, "the one in the file /run/p was tried"],
  ])("is said to be the one that was tried: %j", (environment, tried) => {
    const text = explainPassphrase(said, environment);
    expect(text).toContain(said);
    expect(text).toContain(tried);
    expect(text).toContain("→ set PULUMI_CONFIG_PASSPHRASE");
    expect(text).not.toContain("canary");
  });

  it("is not seen where something else is wrong", () => {
    expect(explainPassphrase("error: no stack named", {})).toBe("error: no stack named");
  });
});
