// "Break When…" in the menu of a variable: a function breakpoint with a condition on it.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { frameOf } from "../debug/frames";
import type { Stop, Stops } from "../debug/stops";
import { type At, breakWhen, type Chosen } from "./breakWhenText";
import { newBreakpoint } from "./editing";

export async function breakWhenVariable(stops: Stops, chosen: Chosen | undefined): Promise<void> {
  const stop = stops.stop;
  if (stop === undefined || chosen?.variable === undefined) {
    void vscode.window.showInformationMessage(
      "Choose “Break When…” in the menu of a variable, while the model is stopped.",
    );
    return;
  }
  const wish = breakWhen(chosen, await lookedAt(stop, chosen));
  if (typeof wish === "string") {
    void vscode.window.showInformationMessage(wish);
    return;
  }
  await newBreakpoint(wish.place, wish.condition);
}

async function lookedAt({ session, frameId }: Stop, { container, variable }: Chosen): Promise<At> {
  const frame = frameOf(session, frameId);
  const name = frame?.name ?? "";
  const selected = /^(sample|logits|\w+(?:Processor|Warper))\b/.exec(name)?.[1];
  const path = frame?.moduleId === undefined ? selected : String(frame.moduleId);
  const isTensor = variable.evaluateName !== undefined && path !== undefined;
  const firstInput = isTensor ? await firstTensor({ session, frameId }, container) : undefined;
  return { path, phase: /\((after|done)\)$/.test(name) ? "after" : "before", ...(firstInput && { firstInput }) };
}

/** The first tensor among the inputs of a frame. */
async function firstTensor(
  { session, frameId }: Pick<Stop, "session" | "frameId">,
  container: Chosen["container"],
): Promise<string | undefined> {
  try {
    const { scopes } = await ask(session, "scopes", { frameId });
    const inputs = scopes.find(({ name }) => name === "Inputs");
    const reference = container.name === "Inputs" ? container.variablesReference : inputs?.variablesReference;
    const rows = reference ? (await ask(session, "variables", { variablesReference: reference })).variables : [];
    return rows.find(({ type }) => type === "Tensor")?.name;
  } catch {
    return undefined; // the run has gone on
  }
}
