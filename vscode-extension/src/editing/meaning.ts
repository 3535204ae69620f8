// What a variable is as the target of an edit, and what is typed of one. Knows no editor.

import type { EditTarget, Variable } from "../protocol/messages";

/** What VS Code hands to a command of the menu of a variable, as far as it matters here. */
export interface Chosen {
  variable: Pick<Variable, "name" | "value" | "type" | "evaluateName">;
  /** The scope or the variable that holds it. */
  container: { name: string; variablesReference?: number };
}

const DATA_ID = /^(activation|input|parameter|cache|option):(.*?)((?:\[[^\]]*\])*)$/s;

/** The target that a data id of the debugger names, such as `activation:model.layers.1[0, 3]`. */
export function targetOfData(dataId: string): EditTarget | undefined {
  const [, kind, name = "", brackets] = DATA_ID.exec(dataId) ?? [];
  const index = brackets ? { index: brackets } : {};
  switch (kind) {
    case "activation":
      return { kind: "module", path: name, value: "output", ...index };
    case "input":
      return { kind: "module", path: name, value: "input", ...index };
    case "parameter":
    case "cache":
      return { kind, name, ...index };
    default:
      return undefined;
  }
}

/** What a module that is over has returned, which no data id names. */
export function targetOfOutput({ variable }: Chosen, path: string | undefined): EditTarget | undefined {
  const [, index] = /^output((?:\[[^\]]*\])*)$/.exec(variable.evaluateName ?? "") ?? [];
  return index === undefined || path === undefined
    ? undefined
    : { kind: "module", path, value: "output", ...(index && { index }) };
}

/** The number of a head, where a row of the scope Attention is one, and of the module that it is listed under. */
export function headOf({ variable, container }: Chosen): { head: number; path?: string } | undefined {
  const [, number] = /^head (\d+)$/.exec(variable.name) ?? [];
  const [path] = container.name.split(" (call");
  return number === undefined
    ? undefined
    : { head: Number(number), ...(path?.includes(".") && container.name !== "Attention" && { path }) };
}

/** In words why a text is no number to multiply by. */
export function factorProblem(text: string): string | undefined {
  const number = Number(text);
  return text.trim() === "" || !Number.isFinite(number) ? "A number, such as 0.5, 2 or -1" : undefined;
}

/** Numbers of heads, `3` or `0, 2, 5`. */
export function readHeads(text: string): number[] | undefined {
  const parts = text.split(",").map((part) => part.trim());
  return parts.every((part) => /^\d+$/.test(part)) ? [...new Set(parts.map(Number))] : undefined;
}

export function headsProblem(text: string): string | undefined {
  return readHeads(text) === undefined ? "Numbers of heads from 0, such as 3 or 0, 2, 5" : undefined;
}
