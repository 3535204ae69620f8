// Steps and the places inside a step, as numbers. Knows no page.

import type { GenerationResponseBody } from "../../protocol/messages";
import { type Measure, percent, type Text } from "../shared/text";
import type { Place } from "../shared/travelling";

/** A place inside a step that one can travel to. */
export interface Slot {
  label: string;
  /** What it is called in full. */
  name: string;
  place: Omit<Place, "step">;
}

export function slots({ layers, hasSelection }: GenerationResponseBody): Slot[] {
  const begin: Slot = { label: "start", name: "beginning of the step", place: {} };
  const inside = layers.map((path, at) => ({ label: String(at), name: path, place: { path } }));
  const selection = ["logits", "sample"].map((path) => ({ label: path, name: path, place: { path } }));
  return [begin, ...inside, ...(hasSelection ? selection : [])];
}

/** Index of the slot in which the run stands, and where in it: 0 at its beginning, 1 at its end. */
export function presentSlot(where: GenerationResponseBody): { slot: number; part: number } {
  const { layers, layer, path, phase } = where;
  const last = layers.length + (where.hasSelection ? 2 : 0);
  if (path === "end" || path === "sample") {
    return { slot: last, part: path === "end" || phase === "after" ? 1 : 0 };
  }
  if (where.isSelecting) {
    return { slot: layers.length + 1, part: path !== "logits" || phase === "after" ? 1 : 0 };
  }
  if (layer === undefined) {
    return { slot: 0, part: path === "step" || path === "" ? 0 : 1 };
  }
  const own = layers[layer] ?? "";
  const part = path === own ? (phase === "after" ? 1 : 0) : path.startsWith(`${own}.`) ? 0.5 : 1;
  return { slot: layer + 1, part };
}

/** How many steps the scale has: all of the tape, and the present one. */
export function length(where: GenerationResponseBody): number {
  return Math.max(where.steps, where.step + 1);
}

export type Bars = [steps: number[], past: Heights, present: Heights, future: Heights];
type Heights = (number | null)[];

/** The heights of the chart by step: one row for each time, as uPlot wants them. */
export function series({ tokens, where }: Text, measure: Measure): Bars {
  if (where === undefined) {
    return [[], [], [], []];
  }
  const steps = Array.from({ length: length(where) }, (_, step) => step);
  const rows: Bars = [steps, steps.map(() => null), steps.map(() => null), steps.map(() => null)];
  for (const step of steps) {
    const isPast = step < where.step || where.path === "end";
    const row = rows[isPast ? 1 : step === where.step ? 2 : 3];
    row[step] = tokens[where.promptLength + step]?.[measure] ?? null;
  }
  return rows;
}

/** A step in words. */
export function stepText({ tokens, where }: Text, step: number): string {
  const token = where && tokens[where.promptLength + step];
  if (!token) {
    return `step ${step}`;
  }
  const { probability, entropy } = token;
  const words = [`step ${step}: ${JSON.stringify(token.text)}`];
  if (probability !== undefined) {
    words.push(percent(probability));
  }
  if (entropy !== undefined) {
    words.push(`entropy ${entropy.toPrecision(3)} nats`);
  }
  return words.join(", ");
}

export function placeInWords({ path, phase }: GenerationResponseBody): string {
  if (path === "end") {
    return "at the end";
  }
  return path === "step" ? "at its beginning" : `${phase} ${path || "the whole model"}`;
}

export function stepTable({ tokens, where }: Text): {
  caption: string;
  columns: string[];
  rows: (string | number)[][];
} {
  const rows = tokens.filter((token) => token?.step !== undefined);
  return {
    caption: where ? `Steps of the run, which stands at step ${where.step}` : "",
    columns: ["step", "token", "probability", "entropy (nats)", "place"],
    rows: rows.map((token) => [
      token?.step ?? "",
      token?.text ?? "",
      token?.probability ?? "",
      token?.entropy ?? "",
      where && token?.step === where.step ? placeInWords(where) : "",
    ]),
  };
}
