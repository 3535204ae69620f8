// Where a page may have the run go. Knows no editor.

import type { RunToStepArguments } from "../protocol/messages";

/** The arguments of `llm/runToStep` that a page has named, made anew from what is a place in them; or nothing. */
export function destination(what: unknown): RunToStepArguments | undefined {
  if (typeof what !== "object" || what === null) {
    return undefined;
  }
  const { step, path, phase } = what as Record<string, unknown>;
  if (typeof step !== "number" || !Number.isSafeInteger(step) || step < 0) {
    return undefined;
  }
  if (path !== undefined && typeof path !== "string") {
    return undefined;
  }
  if (phase !== undefined && phase !== "before" && phase !== "after") {
    return undefined;
  }
  return { step, ...(path !== undefined && { path }), ...(phase !== undefined && { phase }) };
}
