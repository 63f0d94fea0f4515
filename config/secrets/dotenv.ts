import { parse } from "dotenv";

/**
 * A line of a secrets file from which dotenv reads exactly this value. dotenv has no escape for a quote inside quotes,
 * so each kind of quotes is tried.
 * @throws for a value that no line can hold, such as one with all three kinds of quotes.
 */
export function dotenvLine(name: string, value: string): string {
  const plain = /['"`]/.test(value) ? [] : [value];
  // Neither the quote itself, nor a backslash before the last quote: dotenv would read on into the next lines.
  const quotes = ["'", '"', "`"].filter((quote) => !value.includes(quote) && !value.endsWith("\\"));
  const escaped = value.replaceAll("\n", String.raw`\n`).replaceAll("\r", String.raw`\r`);
  const spellings = [...plain, ...quotes.map((quote) => `${quote}${quote === '"' ? escaped : value}${quote}`)];
  const line = spellings.map((spelling) => `${name}=${spelling}`).find((candidate) => parse(candidate)[name] === value);
  if (line === undefined)
    throw new Error(
      `${name} can't be written to a file in dotenv syntax; set it as an environment variable or with pulumi config set --secret`,
    );
  return line;
}

// For dotenv, `NAME: value` is a line like `NAME=value`.
/** Names of values that continue after a `#` outside of quotes: dotenv silently takes the rest for a comment. */
export function cutValues(text: string): string[] {
  const values = parse(text);
  const unquoted = /^[^\S\n]*(?:export[^\S\n]+)?([\w.-]+)(?:[^\S\n]*=[^\S\n]*|:[^\S\n]+)((?!['"`])[^\n#]*[^\s#])#/gm;
  // A line of a longer value may look the same.
  return [...text.matchAll(unquoted)].flatMap(([, name = "", kept]) => (values[name] === kept ? [name] : []));
}

/** Names of values whose quote is never closed: dotenv silently takes the quote as part of the value. */
export function unclosedValues(text: string): string[] {
  const values = parse(text);
  const quoted = /^[^\S\n]*(?:export[^\S\n]+)?([\w.-]+)(?:[^\S\n]*=[^\S\n]*|:[^\S\n]+)(['"`])/gm;
  // A value that begins with another quote than its line contains that quote: it is meant.
  return [...text.matchAll(quoted)].flatMap(([, name = "", quote = ""]) =>
    values[name]?.startsWith(quote) === true ? [name] : [],
  );
}
