// Tokens as they are written along an axis. Knows no page.

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r" };

/** The text of a token that is quoted as Python does it; anything else as it is. */
export function unquoted(label: string): string {
  const [, , inner] = /^(['"])(.*)\1$/s.exec(label) ?? [];
  return inner === undefined
    ? label
    : inner.replace(/\\(?:x(..)|u(.{4})|U(.{8})|(.))/gs, (_all, two, four, eight, one) => {
        const code = two ?? four ?? eight;
        return code === undefined ? (ESCAPES[one] ?? one) : String.fromCodePoint(Number.parseInt(code, 16));
      });
}

/** Short, on one line, with blanks that can be seen; what is not quoted is no token, and stays as it is. */
export function onAxis(label: string): string {
  const text = unquoted(label);
  return text === label ? label : visible(text);
}

/** The text of a token, short, on one line, with blanks that can be seen. */
export function visible(text: string): string {
  const seen = text.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·");
  return seen === "" ? "∅" : seen.length > 14 ? `${seen.slice(0, 13)}…` : seen;
}
