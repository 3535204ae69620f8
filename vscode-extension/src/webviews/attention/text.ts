// Tokens and weights as they are written in the page. Knows no page.

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

/** As labels of the debugger are quoted. */
export function quoted(text: string): string {
  const written = JSON.stringify(text);
  return text.includes("'") ? written : `'${written.slice(1, -1).replaceAll('\\"', '"')}'`;
}

/** Short, on one line, with blanks that can be seen. */
export function onAxis(label: string): string {
  const text = unquoted(label).replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "·");
  if (text.length === label.length) {
    return label; // the name of a head, or what stands for a token that is not known
  }
  return text === "" ? "∅" : text.length > 14 ? `${text.slice(0, 13)}…` : text;
}

/** In running text; the end of a line is seen. */
export function inText(label: string): string {
  const text = unquoted(label).replaceAll("\t", "⇥").replaceAll("\n", "⏎");
  return text === "" ? "∅" : text;
}

export function weight(share: number): string {
  const percent = 100 * share;
  return `${percent >= 99.95 || percent === 0 ? percent.toFixed(0) : percent.toFixed(1)} %`;
}

/** With its sign. */
export function change(share: number): string {
  return `${share > 0 ? "+" : share < 0 ? "−" : ""}${weight(Math.abs(share))}`;
}
