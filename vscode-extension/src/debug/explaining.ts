// An anomaly in words, as it is shown in the editor and in panels. Knows no editor.

import type { ExceptionDetails, ExceptionInfoResponseBody, GenerationResponseBody } from "../protocol/messages";

/** What has stopped a run. It travels to the pages of panels. */
export interface Anomaly {
  /** Of the filter, or the class of an exception. */
  id: string;
  /** What it is called in the list of filters. */
  label: string;
  /** What was found, where, and what to do: a sentence or two. */
  text: string;
  /** The way back to what made it, nearest first. */
  origins: string[];
  /** Python's, of an exception. */
  trace?: string;
  /** Where it was found; not known of what runs outside of a generation. */
  place?: AnomalyPlace;
}

export interface AnomalyPlace {
  step: number;
  path: string;
  phase: string;
  /** Index of the layer around it. */
  layer?: number;
}

export function anomalyOf(info: ExceptionInfoResponseBody, where: GenerationResponseBody | undefined): Anomaly {
  const { exceptionId, description = "", details } = info;
  const { typeName, stackTrace } = details ?? {};
  return {
    id: exceptionId,
    label: typeName ?? exceptionId,
    text: description || (details?.message ?? ""),
    origins: chain(details?.innerException).flatMap(({ message }) => message ?? []),
    ...(stackTrace && { trace: stackTrace }),
    ...(where && { place: placeOf(where) }),
  };
}

/** Adapters may nest what is behind, or list it. */
function chain(details: readonly ExceptionDetails[] | undefined): ExceptionDetails[] {
  return (details ?? []).flatMap((each) => [each, ...chain(each.innerException)]);
}

function placeOf({ step, path, phase, layer }: GenerationResponseBody): AnomalyPlace {
  return { step, path, phase, ...(layer !== undefined && { layer }) };
}

/** What was found, in at most `most` characters: without the place, beside which it stands, and without the reason. */
export function shortText({ label, text, place }: Anomaly, most: number): string {
  const [first = ""] = text.split(/\. (?=\S)|\n/, 1);
  const found = place === undefined ? first : first.replace(placePattern(place), "$1: ");
  const words = found === "" ? label : found;
  if (words.length <= most) {
    return words;
  }
  const cut = words.slice(0, most - 1);
  const end = cut.lastIndexOf(" ");
  return `${(end > most / 2 ? cut.slice(0, end) : cut).replace(/,? (of|in|at|and|the|first)$/, "")}…`;
}

/** `… in what PATH (Class) returns in step 3: ` and the like. */
function placePattern({ path }: AnomalyPlace): RegExp {
  return new RegExp(`^(.*?) in (?:what )?${path.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\b.*? in step \\d+: `);
}
