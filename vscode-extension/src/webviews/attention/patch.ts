// Weights over a stretch of queries and keys, of one head or of many. Knows no page.

import type { AttentionAxis, AttentionOfModule } from "../../protocol/messages";
import { type Axis, cellOf, cells, isExact, type Patch, type Span, valueAt } from "../shared/heatmap/patch";
import { tileValues } from "../shared/tiles";
import type { Head } from "./heads";

export function axisOf({ start, end, block = 1, labels }: AttentionAxis): Axis {
  return { start, end, block, labels };
}

/** One head: queries × keys. */
export function patchOf({ call, is }: Head): Patch {
  return { rows: axisOf(call.queries), columns: axisOf(call.keys), values: tileValues(is.tile) };
}

/** The heads that can stand in one map: all that look at the same text, or at the same blocks of it. */
export function together(heads: readonly Head[], anchor: Head): Head[] {
  const isCross = (call: AttentionOfModule): boolean => call.kind === "cross";
  const { keys } = anchor.call;
  const isExact = heads.every(({ call }) => (call.keys.block ?? 1) === 1);
  return heads.filter(
    ({ call }) =>
      isCross(call) === isCross(anchor.call) &&
      (isExact || (call.keys.start === keys.start && call.keys.end === keys.end && call.keys.block === keys.block)),
  );
}

/** Heads × keys, each by its last query. Keys that a head's window has left behind have no number. */
export function patchOfHeads(heads: readonly Head[]): Patch | undefined {
  const keys = heads.map(({ call }) => axisOf(call.keys));
  const start = Math.min(...keys.map((axis) => axis.start));
  const longest = keys.find((axis) => axis.start === start);
  if (longest === undefined) {
    return undefined;
  }
  const columns = { ...longest, end: Math.max(...keys.map(({ end }) => end)) };
  const width = cells(columns);
  const values = new Float32Array(heads.length * width).fill(Number.NaN);
  heads.forEach((head, at) => {
    const own = tileValues(head.is.tile).slice(-cells(axisOf(head.call.keys)));
    values.set(own, at * width + (cellOf(columns, head.call.keys.start) ?? 0));
  });
  const labels = heads.map(({ name, is }) => `${name} ${is.kind ?? ""}`.trim());
  return { rows: { start: 0, end: heads.length, block: 1, labels }, columns, values };
}

/** The row of a query, key by key; undefined where only blocks of it are known. */
export function rowOf(patch: Patch, query: number): Float32Array | undefined {
  const down = cellOf(patch.rows, query);
  const width = cells(patch.columns);
  return down === undefined || !isExact(patch) ? undefined : patch.values.slice(down * width, (down + 1) * width);
}

/** One minus other, over the rows and columns that both have; undefined where blocks of them would be subtracted. */
export function difference(one: Patch, other: Patch): Patch | undefined {
  const rows = shared(one.rows, other.rows);
  const columns = shared(one.columns, other.columns);
  if (rows === undefined || columns === undefined || !isExact(one) || !isExact(other)) {
    return undefined;
  }
  const width = columns.end - columns.start;
  const values = new Float32Array((rows.end - rows.start) * width);
  for (let row = rows.start; row < rows.end; row++) {
    for (let column = columns.start; column < columns.end; column++) {
      values[(row - rows.start) * width + column - columns.start] =
        (valueAt(one, row, column) ?? Number.NaN) - (valueAt(other, row, column) ?? Number.NaN);
    }
  }
  return { rows, columns, values };
}

function shared(one: Axis, other: Axis): Axis | undefined {
  const start = Math.max(one.start, other.start);
  const end = Math.min(one.end, other.end);
  const labels = one.labels.slice(start - one.start, end - one.start);
  return start < end ? { start, end, block: 1, labels } : undefined;
}

/** At most `side` cells along each axis, by maximum, as the debugger does it. */
export function pooled(patch: Patch, side: number): Patch {
  const height = cells(patch.rows);
  const width = cells(patch.columns);
  const by = Math.max(Math.ceil(height / side), Math.ceil(width / side));
  if (by <= 1) {
    return patch;
  }
  const [rows, columns] = [pooledAxis(patch.rows, by), pooledAxis(patch.columns, by)];
  const across = cells(columns);
  const values = new Float32Array(cells(rows) * across).fill(Number.NaN);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const to = Math.floor(row / by) * across + Math.floor(column / by);
      const value = patch.values[row * width + column] ?? Number.NaN;
      if (!(value <= (values[to] ?? Number.NaN)) && !Number.isNaN(value)) {
        values[to] = value;
      }
    }
  }
  return { rows, columns, values };
}

function pooledAxis(axis: Axis, by: number): Axis {
  return { ...axis, block: axis.block * by, labels: axis.labels.filter((_, at) => at % by === 0) };
}

/** What one query cannot see of the keys, as far as the kind of a call and its window tell. */
export function hides(call: AttentionOfModule): (query: Span, key: Span) => boolean {
  const start = call.start ?? 0;
  const isCausal = call.kind === "self" && (call.keys.arePositions ?? true);
  const window = call.window ?? Number.POSITIVE_INFINITY;
  return (query, key) => {
    if (call.kind === "cross") {
      return false;
    }
    const isPadding = key.end <= start || query.end <= start;
    const isLater = isCausal && key.start > query.end - 1;
    const isGone = isCausal && query.start - (key.end - 1) >= window;
    return isPadding || isLater || isGone;
  };
}
