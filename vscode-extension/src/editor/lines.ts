// The lines of a map: which place stands where. Knows no editor. Columns count from 0, the end not included.

export type Phase = "before" | "after";

export interface Place {
  /** As it is written: `.` is the whole model, `%20` a blank. */
  written: string;
  start: number;
  end: number;
}

/** The place on a line; undefined for a comment and for what is no place. */
export function placeOn(line: string): Place | undefined {
  const [, indent, written] = /^(\s*)([^\s#]\S*)(?=\s{2}|\t|\s#|\s*$)/.exec(line) ?? [];
  return indent === undefined || written === undefined
    ? undefined
    : { written, start: indent.length, end: indent.length + written.length };
}

/** How a map writes the path of a module, or the name of a place of token selection. */
export function writtenAs(path: string): string {
  return path === "" ? "." : path.replaceAll(" ", "%20");
}

/** The place on a line, and where the next field begins, or the line ends: the column behind all paths. */
export function fieldsOf(line: string): { place: Place; next: number } | undefined {
  const place = placeOn(line);
  const blanks = place && /^\s*/.exec(line.slice(place.end))?.[0].length;
  return place && blanks !== undefined ? { place, next: place.end + blanks } : undefined;
}

/** A place of token selection is no module: it has no class, and a note instead, or a name that only it has. */
export function isSelection(line: string): boolean {
  return /^\s*(step|logits|sample|\w+(Processor|Warper)|ExponentialDecayLengthPenalty|LogitNormalization)(\s|$)/.test(
    line,
  );
}

/** Which of the two columns of a place is meant by a breakpoint that stands at one; at the very first it says neither. */
export function phaseAt(line: string, column: number): Phase | undefined {
  const place = placeOn(line);
  if (place === undefined || column <= place.start) {
    return undefined;
  }
  return column - place.start <= line.length - column ? undefined : "after";
}

/** Where a breakpoint stands that stops in a phase. */
export function columnOf(line: string, phase: Phase): number {
  return phase === "after" ? line.length : 0;
}

/** The line of every place, by how it is written; the first one counts. */
export function placesOf(lines: readonly string[]): Map<string, number> {
  const found = new Map<string, number>();
  lines.forEach((line, number) => {
    const place = placeOn(line);
    if (place && !found.has(place.written)) {
      found.set(place.written, number);
    }
  });
  return found;
}
