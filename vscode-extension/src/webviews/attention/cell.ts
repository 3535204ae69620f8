// What is said of one cell of a map. Knows no page.

import type { AttentionHead } from "../../protocol/messages";
import { type Axis, cellOf, type Patch, type Span, spanOf, valueAt } from "../shared/heatmap/patch";
import { change, weight } from "./text";

export interface Told {
  head: AttentionHead;
  hides(row: Span, column: Span): boolean;
  /** Whether rows are queries; else heads. */
  isMany: boolean;
  isDifference: boolean;
}

/** `' is' at 5 → ' France' at 4: 99.4 %`. */
export function cellWords(patch: Patch, row: number, column: number, told: Told): string {
  const { rows, columns } = patch;
  const from = told.isMany ? place(rows, row) : `head ${rows.labels[row] ?? row}`;
  const block = rows.block * columns.block;
  const number = words(patch, row, column, told);
  return `${from} → ${place(columns, column)}: ${number}${block > 1 && number.endsWith("%") ? ` at most, of ${block} cells` : ""}`;
}

function words(patch: Patch, row: number, column: number, { head, hides, isMany, isDifference }: Told): string {
  const value = valueAt(patch, row, column);
  if (isMany && head.leftOut === column && patch.columns.block === 1) {
    return "left out";
  }
  const isHidden = isMany && value === 0 && hides(spanAt(patch.rows, row), spanAt(patch.columns, column));
  if (value === undefined || Number.isNaN(value) || isHidden) {
    return "masked";
  }
  return isDifference ? change(value) : weight(value);
}

function place(axis: Axis, position: number): string {
  const { start, end } = spanAt(axis, position);
  return axis.block === 1 ? `${axis.labels[position - axis.start] ?? ""} at ${position}` : `${start} to ${end - 1}`;
}

function spanAt(axis: Axis, position: number): Span {
  return spanOf(axis, cellOf(axis, position) ?? 0);
}
