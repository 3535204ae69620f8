// What the lens has answered, as a table: layers × positions. Knows no page.

import type {
  GenerationResponseBody,
  LensCandidate,
  LensCell,
  LensColumn,
  LensLayer,
  RunToStepArguments,
} from "../../protocol/messages";
import type { Table } from "../shared/table";

export interface LensTable {
  /** In the order in which they run; the first one is what goes into the first layer. */
  layers: readonly LensLayer[];
  columns: readonly LensColumn[];
}

export type Measure = "probability" | "watched" | "rank" | "norm" | "update" | "cosine";

export const MEASURES: Record<Measure, string> = {
  probability: "probability of the most likely token",
  watched: "probability of the watched token",
  rank: "rank of the watched token",
  norm: "norm of the residual stream",
  update: "norm of what the layer adds",
  cosine: "cosine to what the last layer leaves",
};

/** The number of a cell; undefined where there is none. `watched` is an index of the tokens that are watched. */
export function measured(cell: LensCell | undefined, measure: Measure, watched: number): number | undefined {
  switch (measure) {
    case "probability":
      return cell?.top[0]?.probability;
    case "watched":
      return cell?.watched[watched]?.probability;
    case "rank":
      return cell?.watched[watched]?.rank;
    case "norm":
      return cell?.norm;
    case "update":
      return cell?.update;
    case "cosine":
      return cell?.cosine;
  }
}

/** From the weakest to the strongest colour, and where a number lies between them, 0 to 1. */
export interface Range {
  low: number;
  high: number;
  share(value: number): number;
}

/** Probabilities and cosines have their own range; ranks and norms go by their logarithm over what is shown. */
export function rangeOf(table: LensTable, measure: Measure, watched: number): Range {
  if (measure === "probability" || measure === "watched") {
    return { low: 0, high: 1, share: (value) => value };
  }
  if (measure === "cosine") {
    return { low: 0, high: 1, share: (value) => Math.max(value, 0) };
  }
  const numbers = table.columns
    .flatMap(({ cells }) => cells.map((cell) => measured(cell, measure, watched)))
    .filter((value) => value !== undefined && value > 0) as number[];
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const span = Math.log(most / least) || 1;
  const share = (value: number): number => (value > 0 ? Math.log(value / least) / span : 0);
  return measure === "rank"
    ? { low: most, high: least, share: (value) => 1 - share(value) }
    : { low: least, high: most, share: (value) => 0.08 + 0.92 * share(value) };
}

export function layerName({ index }: LensLayer): string {
  return index < 0 ? "input" : String(index);
}

/** Where a cell is in the run: behind its layer, in the step that chose what follows its position. */
export function placeOf(
  layers: readonly LensLayer[],
  layer: LensLayer,
  position: number | undefined,
  where: GenerationResponseBody | undefined,
): RunToStepArguments {
  const step =
    where === undefined || position === undefined ? (where?.step ?? 0) : Math.max(0, position - where.promptLength + 1);
  const first = layers.find(({ index }) => index === 0)?.path ?? where?.layers[0];
  return layer.index < 0
    ? { step, phase: "before", ...(first !== undefined && { path: first }) }
    : { step, path: layer.path, phase: "after" };
}

/** The next stretch of positions to be asked for, `count` of them ending at `end`. */
export function stretch(end: number, count: number): number[] {
  const start = Math.max(0, end - count);
  return Array.from({ length: end - start }, (_, at) => start + at);
}

/** The older answer with the columns of a newer one; at most `most` columns, those at the other end go. */
export function joined(one: LensTable | undefined, other: LensTable, most: number): LensTable {
  const columns = new Map([...(one?.columns ?? []), ...other.columns].map((each) => [each.position ?? 0, each]));
  const sorted = [...columns.values()].sort((a, b) => (a.position ?? 0) - (b.position ?? 0));
  const isEarlier = (other.columns[0]?.position ?? 0) < (one?.columns[0]?.position ?? 0);
  return { layers: other.layers, columns: isEarlier ? sorted.slice(0, most) : sorted.slice(-most) };
}

/** Tokens that are watched at a column; without any of the person's own, what the last layer says there. */
export function watchedIn(column: LensColumn): LensCandidate[] {
  return column.cells.at(-1)?.watched ?? [];
}

/** One line for every cell. */
export function lensTable({ layers, columns }: LensTable): Table {
  const rows = columns.flatMap((column) =>
    column.cells.map((cell, at) => {
      const [top] = cell.top;
      const watched = cell.watched.map(({ text, rank, probability }) => `${text} ${rank} ${probability ?? ""}`);
      return [
        column.position ?? "",
        column.token?.text ?? "",
        layerName(layers[at] as LensLayer),
        layers[at]?.path ?? "",
        top?.text ?? "",
        top?.probability ?? "",
        cell.norm ?? "",
        cell.update ?? "",
        cell.cosine ?? "",
        watched.join("; "),
        column.recomputed ? "yes" : "no",
      ];
    }),
  );
  return {
    caption: "What every layer would say",
    columns: [
      "position",
      "token",
      "layer",
      "path",
      "says",
      "probability",
      "norm",
      "update",
      "cosine",
      "watched: rank, probability",
      "recomputed",
    ],
    rows,
  };
}

/** What a person has typed: digits are an id, anything else is a text; quotes keep digits a text. */
export function wanted(typed: string): number | string {
  return /^\d+$/.test(typed) ? Number(typed) : typed;
}

/** A probability that is read at a glance. */
export function percent(probability: number | undefined): string {
  if (probability === undefined) {
    return "–";
  }
  const hundredths = 100 * probability;
  return `${hundredths >= 99.95 ? "100" : hundredths < 0.001 ? "< 0.001" : hundredths.toPrecision(hundredths < 10 ? 2 : 3)} %`;
}
