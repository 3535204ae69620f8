// Which names of a Python file have their values shown beside their lines. Knows no editor. Lines count from 0.

export interface NameOnLine {
  name: string;
  line: number;
  start: number;
}

const WORDS = new Set(
  (
    "False None True and as assert async await break case class continue def del elif else except finally for from " +
    "global if import in is lambda match nonlocal not or pass raise return self try while with yield"
  ).split(" "),
);

/** Names on the lines of the function that holds `at`, down to that line: what is below has not run, or not again. */
export function namesBefore(lines: readonly string[], at: number, from = 0): NameOnLine[] {
  const begin = Math.max(from, beginOf(lines, at));
  const found: NameOnLine[] = [];
  for (let line = begin; line <= Math.min(at, lines.length - 1); line++) {
    const seen = new Set<string>();
    for (const { 0: name, index } of blanked(lines[line] ?? "").matchAll(/(?<![\w.])[^\W\d]\w*\b(?!\s*\()/gu)) {
      if (!WORDS.has(name) && !seen.has(name)) {
        seen.add(name);
        found.push({ name, line, start: index });
      }
    }
  }
  return found;
}

/** The line of the `def` around a line, or the first one of the file. */
function beginOf(lines: readonly string[], at: number): number {
  let indent = indentOf(lines[at] ?? "");
  for (let line = at; line >= 0 && indent > 0; line--) {
    const text = lines[line] ?? "";
    if (text.trim() !== "" && indentOf(text) < indent) {
      indent = indentOf(text);
      if (/^\s*(async\s+)?def\s/.test(text)) {
        return line;
      }
    }
  }
  return 0;
}

function indentOf(line: string): number {
  return /^\s*/.exec(line)?.[0].length ?? 0;
}

/** Without texts and comments, as long as it was; texts of several lines are not known here. */
function blanked(line: string): string {
  return line.replace(/(?:\b[rbfu]{1,2})?(?:("""|''').*?(?:\1|$)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|#.*/gi, (text) =>
    " ".repeat(text.length),
  );
}

/** Longer ones would leave no room for the next on a line. */
const MOST = 40;

/** A value as it stands beside a line; none of what is the same at every stop: functions, classes, modules of Python. */
export function shortValue(value: string | undefined): string | undefined {
  if (value === undefined || /^<(function|class|module|built-in|bound method)\b/.test(value)) {
    return undefined;
  }
  const line = value.replace(/\s+/g, " ");
  return line.length <= MOST ? line : `${line.slice(0, MOST - 1).trimEnd()}…`;
}
