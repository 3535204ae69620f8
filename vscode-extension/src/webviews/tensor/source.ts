// Which tensor is shown, and how it is found again at the next stop. Knows no page.

import type { Requests, TensorArguments } from "../../protocol/messages";

export type Named = Pick<TensorArguments, "variablesReference" | "expression" | "frameId">;

type Ask = <C extends "scopes" | "variables">(
  command: C,
  args: Requests[C]["arguments"],
) => Promise<Requests[C]["body"]>;

/** A variable, as VS Code gives it to commands of its context menu; or an expression. */
export interface Source {
  name: string;
  expression?: string;
  /** Of the stop at which it was chosen. */
  reference?: number;
  /** The scope that it is in, or the variable. */
  container?: string;
}

/** What a command was given, if it is something that can be shown. */
export function sourceOf(what: unknown): Source | undefined {
  const { expression, variable, container } = (what ?? {}) as Record<
    string,
    Record<string, unknown> | string | undefined
  >;
  if (typeof expression === "string" && expression !== "") {
    return { name: expression, expression };
  }
  if (typeof variable !== "object") {
    return undefined;
  }
  const { name, evaluateName, variablesReference } = variable;
  return {
    name: typeof evaluateName === "string" && evaluateName !== "" ? evaluateName : String(name),
    ...(typeof evaluateName === "string" && evaluateName !== "" && { expression: evaluateName }),
    ...(typeof variablesReference === "number" && { reference: variablesReference }),
    ...(typeof container === "object" && typeof container.name === "string" && { container: container.name }),
  };
}

/** At the stop at which it was chosen. */
export function here({ reference, expression }: Source, frameId: number): Named | undefined {
  if (reference !== undefined && reference > 0) {
    return { variablesReference: reference };
  }
  return expression === undefined ? undefined : { expression, frameId };
}

/** At another stop: by its expression, or by its name in its scope; undefined where neither leads to it. */
export async function again(source: Source, frameId: number, ask: Ask): Promise<Named | undefined> {
  if (source.expression !== undefined) {
    return { expression: source.expression, frameId };
  }
  const { scopes } = await ask("scopes", { frameId });
  const scope = scopes.find(({ name }) => name === source.container);
  if (scope === undefined) {
    return undefined;
  }
  const { variables } = await ask("variables", { variablesReference: scope.variablesReference });
  const found = variables.find(({ name }) => name === source.name);
  return found && found.variablesReference > 0 ? { variablesReference: found.variablesReference } : undefined;
}
