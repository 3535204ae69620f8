// Where one token looks, token by token, and the tables of the page. Knows no page.

import { unquoted } from "../shared/heatmap/labels";
import { type Axis, cells, type Patch, spanOf } from "../shared/heatmap/patch";
import type { Table } from "../shared/table";
import { rowOf } from "./patch";

/** The keys of a query. */
export interface Row {
  query: number;
  start: number;
  labels: readonly string[];
  weights: Float32Array;
}

/** The row of a query in a patch that has it whole. */
export function rowIn(patch: Patch | undefined, query: number): Row | undefined {
  const weights = patch && rowOf(patch, query);
  return weights && { query, start: patch.columns.start, labels: patch.columns.labels, weights };
}

/** A row over a stretch of text; NaN for what is not among its keys, and for keys that a causal query does not see. */
export function over(row: Row, start: number, count: number, isCausal: boolean): Float32Array {
  return Float32Array.from({ length: count }, (_, at) => {
    const position = start + at;
    const value = row.weights[position - row.start] ?? Number.NaN;
    return isCausal && position > row.query && value === 0 ? Number.NaN : value;
  });
}

export function minus(one: Float32Array, other: Float32Array): Float32Array {
  return one.map((value, at) => value - (other[at] ?? Number.NaN));
}

/** The keys with the highest numbers, or those farthest from 0. */
export function highest(weights: Float32Array, count: number, least = 0.001): number[] {
  const size = (at: number): number => Math.abs(weights[at] ?? 0);
  return [...weights.keys()]
    .filter((at) => size(at) >= least)
    .sort((one, other) => size(other) - size(one))
    .slice(0, count);
}

/** At which step a token looked: those of a prompt in the first one, every chosen one in one of its own. */
export function stepOf(position: number, promptLength: number): number {
  return Math.max(0, position - promptLength + 1);
}

/** A patch as numbers, for a file. */
export function patchTable({ rows, columns, values }: Patch, caption: string, corner: string): Table {
  const width = cells(columns);
  const name = (axis: Axis, at: number): string => {
    const { start, end } = spanOf(axis, at);
    return `${start}${end - start > 1 ? `–${end - 1}` : ""} ${unquoted(axis.labels[at] ?? "")}`;
  };
  return {
    caption,
    columns: [corner, ...Array.from({ length: width }, (_, at) => name(columns, at))],
    rows: Array.from({ length: cells(rows) }, (_, at) => [
      name(rows, at),
      ...[...values.slice(at * width, (at + 1) * width)].map((value) => (Number.isNaN(value) ? "" : value)),
    ]),
  };
}
