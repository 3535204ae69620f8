// A page of a tensor: which axes are seen, and its numbers as a patch. Knows no page of the editor.

import type { TensorAxis, TensorResponseBody } from "../../protocol/messages";
import type { Axis, Patch, Span } from "../shared/heatmap/patch";
import { number, type Table } from "../shared/table";
import { tileValues } from "../shared/tiles";

/** Axes by their number; `index` has one for every axis, for when it is not seen. */
export interface Choice {
  rows: number | undefined;
  columns: number;
  index: readonly number[];
}

/** What the debugger has chosen by itself. */
export function choiceOf(axes: readonly TensorAxis[]): Choice {
  const seen = axes.flatMap(({ start }, at) => (start === undefined ? [] : [at]));
  return {
    rows: seen.length > 1 ? seen[0] : undefined,
    columns: seen.at(-1) ?? 0,
    index: axes.map(({ index }) => index ?? 0),
  };
}

/** A choice for a tensor of other sizes; undefined where it does not fit. */
export function fitted(choice: Choice, axes: readonly TensorAxis[]): Choice | undefined {
  if (choice.index.length !== axes.length) {
    return undefined;
  }
  return { ...choice, index: choice.index.map((each, at) => Math.min(each, Math.max(0, (axes[at]?.size ?? 1) - 1))) };
}

/** With another axis along rows or columns; where it is taken, the two change places. */
export function withAxis(choice: Choice, which: "rows" | "columns", axis: number): Choice {
  const other = which === "rows" ? "columns" : "rows";
  return choice[other] === axis ? { ...choice, [which]: axis, [other]: choice[which] } : { ...choice, [which]: axis };
}

export function slicesOf(
  { rows, columns, index }: Choice,
  part?: { rows: Span; columns: Span },
): (number | number[] | null)[] {
  const along = (span: Span | undefined): number[] | null => (span ? [span.start, span.end] : null);
  return index.map((fixed, at) => (at === rows ? along(part?.rows) : at === columns ? along(part?.columns) : fixed));
}

/** The tile as rows and columns that were chosen; turned over where they are the other way round. */
export function patchOf({ axes, tile }: TensorResponseBody, choice: Choice): Patch {
  const values = tileValues(tile);
  const seen = axes.flatMap((axis, at) => (axis.start === undefined ? [] : [{ axis, at }]));
  const made = seen.map(({ axis }, at) => axisOf(axis, tile.blocks?.[at] ?? 1));
  const one: Axis = { start: 0, end: 1, block: 1, labels: [""] };
  if (made.length < 2) {
    return { rows: one, columns: made[0] ?? one, values };
  }
  const [first, second] = made as [Axis, Axis];
  const [height = 1, width = 1] = tile.shape;
  if (seen[0]?.at === choice.rows) {
    return { rows: first, columns: second, values };
  }
  const turned = new Float32Array(values.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      turned[column * height + row] = values[row * width + column] ?? Number.NaN;
    }
  }
  return { rows: second, columns: first, values: turned };
}

function axisOf({ start = 0, end = 0, labels }: TensorAxis, block: number): Axis {
  return { start, end, block, labels: labels ?? [] };
}

/** `position 3 ' France'`. */
export function spoken(axis: TensorAxis | undefined, along: Axis, at: number): string {
  if (axis === undefined) {
    return "";
  }
  const cell = Math.floor((at - along.start) / along.block);
  const label = along.labels[cell];
  if (along.block === 1) {
    return `${axis.name} ${at}${label ? ` ${label}` : ""}`;
  }
  const first = along.start + cell * along.block;
  return `${axis.name} ${first} to ${Math.min(first + along.block, along.end) - 1}`;
}

/** A number as it is read: what is not finite by its name. */
export function said(value: number | undefined): string {
  if (value === undefined) {
    return "";
  }
  return Number.isNaN(value) ? "NaN" : value === Infinity ? "+∞" : value === -Infinity ? "−∞" : number(value);
}

/** The numbers themselves, at most so many rows and columns. */
export function pageTable(patch: Patch, name: string, most: Span = { start: Infinity, end: Infinity }): Table {
  const label = ({ labels, start, block }: Axis, cell: number): string =>
    `${start + cell * block}${labels[cell] ? ` ${labels[cell]}` : ""}`;
  const count = ({ start, end, block }: Axis): number => Math.ceil((end - start) / block);
  const [height, width] = [Math.min(count(patch.rows), most.start), Math.min(count(patch.columns), most.end)];
  const stride = count(patch.columns);
  const isPart = height < count(patch.rows) || width < stride;
  return {
    caption: `${name}${isPart ? `: the first ${height} rows and ${width} columns, the CSV has all` : ""}`,
    columns: ["", ...Array.from({ length: width }, (_, at) => label(patch.columns, at))],
    rows: Array.from({ length: height }, (_, row) => [
      label(patch.rows, row),
      ...patch.values.subarray(row * stride, row * stride + width),
    ]),
  };
}

/** The largest magnitude that gets a colour of its own. */
export function limitOf({ statistics, distribution }: TensorResponseBody, range: "all" | "most"): number {
  const of = (low: number | null | undefined, high: number | null | undefined): number =>
    Math.max(Math.abs(low ?? 0), Math.abs(high ?? 0));
  const all = of(statistics?.min, statistics?.max);
  const most = of(distribution?.quantiles[0], distribution?.quantiles.at(-1));
  return range === "most" && most > 0 ? most : all;
}
