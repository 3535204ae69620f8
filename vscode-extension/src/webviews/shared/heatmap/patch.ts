// Numbers over a stretch of rows and of columns. Knows no page.

/** A stretch of positions, or of heads; `end` is behind the last one. */
export interface Span {
  start: number;
  end: number;
}

/** Its cells stand for `block` positions each, the last one perhaps for fewer. */
export interface Axis extends Span {
  block: number;
  /** Of every cell. */
  labels: readonly string[];
}

/** Row by row; NaN where there is no weight. */
export interface Patch {
  rows: Axis;
  columns: Axis;
  values: Float32Array;
}

export function cells({ start, end, block }: Axis): number {
  return Math.ceil((end - start) / block);
}

/** The cell of a position; undefined outside. */
export function cellOf(axis: Axis, position: number): number | undefined {
  return position >= axis.start && position < axis.end ? Math.floor((position - axis.start) / axis.block) : undefined;
}

export function valueAt(patch: Patch, row: number, column: number): number | undefined {
  const down = cellOf(patch.rows, row);
  const across = cellOf(patch.columns, column);
  return down === undefined || across === undefined ? undefined : patch.values[down * cells(patch.columns) + across];
}

export function isExact({ rows, columns }: Patch): boolean {
  return rows.block === 1 && columns.block === 1;
}

/** Whether all of a patch's cells over these rows and columns are in it. */
export function covers({ rows, columns }: Patch, down: Span, across: Span): boolean {
  return rows.start <= down.start && rows.end >= down.end && columns.start <= across.start && columns.end >= across.end;
}

/** The span of a cell. */
export function spanOf({ start, end, block }: Axis, cell: number): Span {
  return { start: start + cell * block, end: Math.min(start + (cell + 1) * block, end) };
}
