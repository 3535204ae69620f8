// Where "Next Token", "Next Layer" and "Previous Token" lead. Knows no editor.

import type { GenerationResponseBody, RunToStepArguments } from "../protocol/messages";

export type Move = "nextToken" | "nextLayer" | "previousToken";

export type Standing = Pick<GenerationResponseBody, "step" | "path" | "phase" | "layers" | "layer" | "isSelecting">;

/** The place to go to, or in words why there is none. */
export function destination(move: Move, standing: Standing): RunToStepArguments | string {
  const { step, path } = standing;
  if (path === "end") {
    return move === "previousToken" ? { step: Math.max(step - 1, 0) } : "The generation is over. One can go back.";
  }
  switch (move) {
    case "nextToken":
      return samePlace(standing, step + 1);
    case "previousToken":
      return step === 0 ? "This is the first step of the run." : samePlace(standing, step - 1);
    case "nextLayer":
      return nextLayer(standing);
  }
}

function samePlace({ path, phase }: Standing, step: number): RunToStepArguments {
  return path === "step" ? { step } : { step, path, phase };
}

/** Before the next layer; from the last one, and from the choice of the token, the first one of the next step. */
function nextLayer({ step, layers, layer, isSelecting }: Standing): RunToStepArguments | string {
  if (layers.length === 0) {
    return "This model has no layers that repeat.";
  }
  const next = layer === undefined ? undefined : layers[layer + 1];
  if (next !== undefined) {
    return { step, path: next };
  }
  const over = layer !== undefined || isSelecting === true;
  const to = over ? step + 1 : step;
  const path = to === 0 ? layers[0] : firstOfLastStack(layers);
  return path === undefined ? { step: to } : { step: to, path };
}

/** An encoder runs before the first token alone; its layers stand first. */
function firstOfLastStack(layers: readonly string[]): string | undefined {
  const stack = (path: string): string => path.slice(0, path.lastIndexOf("."));
  const last = layers.at(-1);
  return last === undefined ? undefined : layers.find((path) => stack(path) === stack(last));
}
