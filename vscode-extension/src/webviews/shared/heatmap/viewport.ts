// What part of a large map is seen: zoom, pan, and where labels go. In cells, which need not be whole. Knows no page.

import type { Span } from "./patch";

export interface Size {
  rows: number;
  columns: number;
}

export interface Viewport {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Plot {
  width: number;
  height: number;
}

/** No cell is made larger, in pixels. */
export const LARGEST = 30;

export function whole({ rows, columns }: Size): Viewport {
  return { left: 0, top: 0, width: columns, height: rows };
}

export function isWhole(view: Viewport, size: Size): boolean {
  return view.width >= size.columns && view.height >= size.rows;
}

/** Nearer by `factor`, with the cell at (x, y) where it was. */
export function zoomed(view: Viewport, factor: number, x: number, y: number, size: Size, plot: Plot): Viewport {
  const width = fitted(view.width / factor, plot.width, size.columns);
  const height = fitted(view.height / factor, plot.height, size.rows);
  const left = x - ((x - view.left) * width) / view.width;
  const top = y - ((y - view.top) * height) / view.height;
  return inside({ left, top, width, height }, size);
}

function fitted(cells: number, pixels: number, count: number): number {
  return Math.min(Math.max(cells, pixels / LARGEST, 1), count);
}

export function moved(view: Viewport, right: number, down: number, size: Size): Viewport {
  return inside({ ...view, left: view.left + right, top: view.top + down }, size);
}

/** Moved as far as it takes to see a cell. */
export function showing(view: Viewport, row: number, column: number, size: Size): Viewport {
  const left = Math.min(Math.max(view.left, column + 1 - view.width), column);
  const top = Math.min(Math.max(view.top, row + 1 - view.height), row);
  return inside({ ...view, left, top }, size);
}

function inside(view: Viewport, { rows, columns }: Size): Viewport {
  const left = Math.max(0, Math.min(view.left, columns - view.width));
  const top = Math.max(0, Math.min(view.top, rows - view.height));
  return { ...view, left, top };
}

/** The cells that are seen, and as many beside them as `margin` says, as a share of what is seen. */
export function seen(view: Viewport, size: Size, margin = 0): { rows: Span; columns: Span } {
  const span = (from: number, length: number, count: number): Span => ({
    start: Math.max(0, Math.floor(from - margin * length)),
    end: Math.min(count, Math.ceil(from + (1 + margin) * length)),
  });
  return { rows: span(view.top, view.height, size.rows), columns: span(view.left, view.width, size.columns) };
}

/** Cells of a stretch that get a label, so that these are at least `apart` pixels from each other. */
export function labelled({ start, end }: Span, pixelsPerCell: number, apart: number): number[] {
  const least = apart / pixelsPerCell;
  const magnitude = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  const step = least <= 1 ? 1 : ([1, 2, 5, 10].map((each) => each * magnitude).find((each) => each >= least) ?? 1);
  const found: number[] = [];
  for (let at = Math.ceil(start / step) * step; at < end; at += step) {
    found.push(at);
  }
  return found;
}
