import { styleText, stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { columns } from "./output.ts";

const rows = [
  ["ok", "docker", "the local engine: Docker 20.10.24, Debian GNU/Linux 12, 2 processors"],
  [styleText("red", "FAIL", { validateStream: false }), "port 443", "somebody listens on it"],
];
const plain = (width?: number): string[] => stripVTControlCharacters(columns(rows, 2, width)).split("\n");

describe("columns", () => {
  it("are as wide as they need to be where there is no terminal, or a wide one", () => {
    const wide = [
      "ok    docker    the local engine: Docker 20.10.24, Debian GNU/Linux 12, 2 processors",
      "FAIL  port 443  somebody listens on it",
    ];
    expect(plain()).toEqual(wide);
    expect(plain(200)).toEqual(wide);
  });

  it("go on below themselves on a narrow one, between words", () => {
    expect(plain(60)).toEqual([
      "ok    docker    the local engine: Docker 20.10.24, Debian",
      "                GNU/Linux 12, 2 processors",
      "FAIL  port 443  somebody listens on it",
    ]);
  });

  it("are lines of their own where there is no room beside the others", () => {
    expect(plain(30)).toEqual([
      "ok",
      "  docker  the local engine:",
      "  Docker 20.10.24, Debian",
      "  GNU/Linux 12, 2 processors",
      "FAIL",
      "  port 443  somebody listens",
      "  on it",
    ]);
  });

  it.each([20, 40, 60, 80])("are nowhere wider than %i characters, and no word is broken", (width) => {
    const lines = plain(width);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    expect(lines.join(" ").split(/\s+/).filter(Boolean)).toEqual(
      stripVTControlCharacters(rows.flat().join(" ")).split(" "),
    );
  });
});
