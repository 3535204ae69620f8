// "Break When…" on a variable: what its breakpoint stands on, and what its condition begins with. Knows no editor.
//
// Conditions have names of their own (docs/conditions.md): few variables have one.

import type { Variable } from "../protocol/messages";

/** What VS Code hands to a command of the menu of a variable, as far as it matters here. */
export interface Chosen {
  variable: Pick<Variable, "name" | "value" | "type" | "evaluateName">;
  /** The scope or the variable that holds it. */
  container: { name: string; type?: string; evaluateName?: string; variablesReference?: number };
}

/** The frame that is looked at. */
export interface At {
  /** Of the module, or a name of token selection such as `sample`; undefined in a Python frame. */
  path: string | undefined;
  phase: "before" | "after";
  /** The first tensor that the module is given, by its name there. */
  firstInput?: string;
}

export interface Wish {
  /** Name of the function breakpoint. */
  place: string;
  condition: string;
}

const SELECTION: Record<string, (value: string) => string> = {
  token: (value) => `text == ${value}`,
  id: (value) => `token == ${value}`,
  probability: (value) => `prob < ${Number(rounded(value)) < 1 ? rounded(value) : 0.5}`,
  entropy: (value) => `entropy > ${rounded(value)}`,
  logits: () => "logits.max() > 30",
};

/** In words why there is none, where a variable has no name. */
export function breakWhen(chosen: Chosen, at: At): Wish | string {
  const { variable, container } = chosen;
  const { name, value, evaluateName } = variable;
  if (container.name === "Sampling" || (at.path === "sample" && container.name !== "Tokens")) {
    const condition = SELECTION[name]?.(value);
    return condition ? { place: "after:sample", condition } : nameless(name, "of the choice of a token: text, prob …");
  }
  if (container.name === "Returned") {
    return { place: `after:${name}`, condition: compared("output", value) };
  }
  if (at.path === undefined) {
    return `${name} belongs to a Python frame: set a breakpoint in its file, or choose the frame of a module.`;
  }
  const head = /^head (\d+)$/.exec(name)?.[1];
  if (container.name === "Attention" && head !== undefined) {
    return { place: `after:${at.path}`, condition: `attention(${head}).max() > 0.9` };
  }
  const expression = evaluateName && renamed(evaluateName, container, at);
  if (expression === undefined || expression === "") {
    return nameless(name, "of a module: input, output, norm, attention(head) …");
  }
  const isAfter = /^output\b/.test(expression) || at.phase === "after";
  return { place: isAfter ? `after:${at.path}` : at.path, condition: compared(expression, value) };
}

function nameless(name: string, others: string): string {
  return `${name} has no name in the language of conditions. It has names ${others}`;
}

/** In the language of conditions: a module's outputs are `output`, its first one that is a tensor, and `input` likewise. */
function renamed(expression: string, container: Chosen["container"], { firstInput }: At): string | undefined {
  const [, root = "", rest = ""] = /^(\w+)(.*)$/s.exec(expression) ?? [];
  if (root === "output") {
    const isOfTuple = container.evaluateName === "output" && /^(tuple|list)$/.test(container.type ?? "");
    return isOfTuple ? (rest === "[0]" ? "output" : undefined) : expression;
  }
  return root === firstInput ? `input${rest}` : undefined;
}

/** Begins with what is true now, or nearly: whoever types another number sees of what size it is. */
function compared(expression: string, value: string): string {
  if (NUMBER.test(value)) {
    return `${expression} > ${rounded(value)}`;
  }
  const [, least, most] = / in \[([^,\]]+), ([^,\]]+)\]/.exec(value) ?? [];
  const largest = Math.max(Math.abs(Number(least)), Math.abs(Number(most)));
  return `${expression}.abs().max() > ${Number.isFinite(largest) ? rounded(String(largest)) : 10}`;
}

const NUMBER = /^-?[\d.]+(e[+-]?\d+)?$/i;

function rounded(value: string): string {
  return String(Number(Number(value).toPrecision(3)));
}
