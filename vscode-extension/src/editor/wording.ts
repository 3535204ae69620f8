// What stands beside a line of a map, and in the input box of a breakpoint. Knows no editor.

import type {
  ConditionCompletionItem,
  ConditionDiagnosticsArguments,
  ConditionDiagnosticsResponse,
  InlineValue,
} from "../protocol/messages";

/** Characters of the column of values. */
export const VALUE_WIDTH = 34;
/** The most characters of a token, so that it fits. */
const TOKEN_WIDTH = 12;

/** What stands beside the line of a module that has run; undefined where there is nothing to say. */
export function inlineText(value: InlineValue): string | undefined {
  const norm = value.norm === undefined ? "" : `${value.isInput ? "input" : "norm"} ${short(value.norm)}`;
  if (value.token === undefined) {
    return norm || undefined;
  }
  const chance = value.probability === undefined ? "" : ` ${percent(value.probability)}`;
  return `${norm.padEnd(11)}→ ${quoted(value.token.text, TOKEN_WIDTH)}${chance}`;
}

/** The same in a sentence. */
export function inlineWords(value: InlineValue): string {
  const what = value.isInput ? "what it was given" : "what it gave";
  const norm = value.norm === undefined ? [] : [`Length of ${what}, at the last position: ${short(value.norm)}.`];
  const chance = value.probability === undefined ? "" : ` with ${percent(value.probability)}`;
  const token = value.token === undefined ? [] : [`${quoted(value.token.text)}${chance}.`];
  const reads = value.norm === undefined ? "The chosen token: " : "The logit lens reads here: ";
  return [...norm, ...token.map((each) => reads + each)].join(" ");
}

function quoted(text: string, most = 200): string {
  return JSON.stringify(text.length > most ? `${text.slice(0, most - 1)}…` : text);
}

/** Three digits, so that they stand below each other. */
function short(number: number): string {
  const size = Math.abs(number);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) {
    return number.toExponential(1);
  }
  return size >= 1000 ? number.toFixed(0) : number.toPrecision(3);
}

function percent(probability: number): string {
  const value = probability * 100;
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${value.toFixed(1)} %`;
}

export type TextKind = NonNullable<ConditionDiagnosticsArguments["kind"]>;

/** The texts of a breakpoint, in the order in which they are offered. */
export const TEXTS: Record<TextKind, { label: string; explained: string; example: string }> = {
  condition: {
    label: "Condition",
    explained: "stops only where this is true",
    example: "an expression, such as norm > 20 and step == 3",
  },
  hitCondition: {
    label: "Hit condition",
    explained: "stops at some of the hits",
    example: "a number or a comparison, such as 5 or % 10",
  },
  logMessage: {
    label: "Log message",
    explained: "writes a line into the Debug Console and goes on",
    example: "a text, with expressions in braces, such as {path}: {norm:.1f}",
  },
};

/** A row of the list below the input: what Enter would do with the text, or a name that could go on. */
export interface Row {
  label: string;
  description: string;
  detail?: string;
  does: "set" | "nothing" | { insert: string };
  icon: "check" | "error" | "trash" | "info" | "history" | "symbol-function" | "symbol-variable" | "symbol-module";
}

/** What is said of a text before it is set. Its label is the text itself, so that no name is sorted before it. */
export function verdict(
  text: string,
  kind: TextKind,
  before: string,
  answer: ConditionDiagnosticsResponse | undefined,
): Row {
  if (text.trim() === "") {
    return before
      ? { label: `Remove the ${TEXTS[kind].label.toLowerCase()}`, description: "", does: "set", icon: "trash" }
      : { label: `Type ${TEXTS[kind].example}`, description: "", does: "nothing", icon: "info" };
  }
  const [first, ...more] = answer?.diagnostics ?? [];
  if (first !== undefined) {
    const others = more.length > 0 ? ` (and ${more.length} more)` : "";
    return {
      label: text,
      description: "",
      detail: `${first.message}${others}`,
      does: "nothing",
      icon: "error",
    };
  }
  const does = kind === "logMessage" ? "logs" : "stops";
  const where = answer?.phase ? `, ${does} ${answer.phase} it runs` : "";
  return {
    label: text,
    description: answer === undefined ? "not checked: the language server does not answer" : `Enter sets it${where}`,
    does: "set",
    icon: "check",
  };
}

/** Names that may stand at the end of a text, each with the text that choosing it gives. */
export function suggestions(text: string, items: readonly ConditionCompletionItem[]): Row[] {
  return items
    .filter((item) => text.slice(item.start, item.end) !== item.label)
    .map((item) => ({
      label: item.label,
      description: item.detail?.startsWith(item.label) ? item.detail.slice(item.label.length) : (item.detail ?? ""),
      ...(item.documentation && { detail: item.documentation }),
      does: {
        insert: `${text.slice(0, item.start)}${item.label}${item.kind === "function" ? "(" : ""}${text.slice(item.end)}`,
      },
      icon: ICONS[item.kind] ?? "symbol-variable",
    }));
}

const ICONS: Record<string, Row["icon"]> = {
  function: "symbol-function",
  builtin: "symbol-function",
  module: "symbol-module",
  threshold: "history",
};
