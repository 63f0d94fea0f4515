import { describe, expect, it } from "vitest";
import { fillIn } from "./placeholders.ts";

const values = {
  publicUrl: "https://events.example.org",
  publicHost: "events.example.org",
  routerAddress: "10.1.2.2",
  slot: "green",
};

describe("placeholders", () => {
  it.each([
    ["{publicUrl}/admin", "https://events.example.org/admin"],
    ["{routerAddress}/32,{routerAddress}/32", "10.1.2.2/32,10.1.2.2/32"],
    ["\\{slot} is {slot}", "{slot} is green"],
    ["\\{anything}", "{anything}"],
    // JSON, templates of others, and what are no words.
    ['{"host":"{publicHost}"}', '{"host":"events.example.org"}'],
    ["{{slot}} {{ .Name }} {} {1} { slot } {a-b} a{", "{{slot}} {{ .Name }} {} {1} { slot } {a-b} a{"],
    ["", ""],
  ])("in %j give %j", (text, filled) => {
    expect(fillIn(text, values)).toBe(filled);
  });

  it("leave to others what is theirs, and what stands for it", () => {
    expect(fillIn("{version} \\{version} {publicHost} \\{slot}", values, ["version", "commit"])).toBe(
      "{version} \\{version} events.example.org {slot}",
    );
  });

  it("are never guessed", () => {
    expect(() => fillIn("{nobody}", values)).toThrow("{nobody}");
  });
});
