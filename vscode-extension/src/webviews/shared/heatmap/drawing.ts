// How a heat map is painted: cells, what is masked, labels, what is pointed at.

import { color } from "../theme";
import { onAxis } from "./labels";
import { type Axis, cellOf, cells, type Patch } from "./patch";
import { labelled, type Plot, type Size, seen, type Viewport } from "./viewport";

/** In pixels of CSS. */
export interface Layout {
  width: number;
  height: number;
  /** Of the plot, beside and below the labels. */
  left: number;
  top: number;
  plot: Plot;
  /** The patches, the finest last: labels come from them. */
  patches: readonly Patch[];
}

const LARGEST_CELL = 40;
const TALLEST = 480;
const SLANT = -Math.PI / 3;
const LINE = 13;

export function layoutOf(size: Size, patches: readonly Patch[], width: number): Layout {
  const paint = measuring();
  const longest = (axis: Axis | undefined): number =>
    Math.max(20, ...labelsOf(axis).map((label) => paint.measureText(onAxis(label)).width));
  const [first] = patches;
  const left = Math.ceil(Math.min(longest(first?.rows), 120)) + 8;
  const slanted = Math.min(longest(first?.columns), 100);
  const top = Math.ceil(slanted * Math.sin(-SLANT)) + 14;
  const beside = Math.ceil(slanted * Math.cos(SLANT)) + 4;
  const cell = Math.min(LARGEST_CELL, (width - left - beside) / size.columns);
  const isSquare = size.rows === size.columns;
  const plot = {
    width: Math.max(40, Math.min(cell * size.columns, isSquare ? TALLEST : Number.POSITIVE_INFINITY)),
    height: 0,
  };
  plot.height = isSquare ? plot.width : Math.min(TALLEST, size.rows * Math.max(14, Math.min(cell, 18)));
  return { width: left + plot.width + beside, height: top + plot.height + 2, left, top, plot, patches };
}

/** What may stand along an axis; without labels its positions. */
function labelsOf(axis: Axis | undefined): readonly string[] {
  return axis?.labels.length ? axis.labels.slice(0, 2000) : [String(axis?.end ?? "")];
}

function measuring(): CanvasRenderingContext2D {
  const paint = document.createElement("canvas").getContext("2d") as CanvasRenderingContext2D;
  paint.font = font();
  return paint;
}

function font(weight = ""): string {
  return `${weight} 11px ${getComputedStyle(document.body).getPropertyValue("--vscode-editor-font-family") || "monospace"}`;
}

function begin(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const paint = canvas.getContext("2d") as CanvasRenderingContext2D;
  paint.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  paint.clearRect(0, 0, canvas.width, canvas.height);
  paint.font = font();
  return paint;
}

export function draw(
  canvas: HTMLCanvasElement,
  layout: Layout,
  view: Viewport,
  pictures: readonly { patch: Patch; picture: HTMLCanvasElement }[],
  chosen: number | undefined,
): void {
  const paint = begin(canvas);
  const { left, top, plot } = layout;
  paint.fillStyle = color("editor-background");
  paint.fillRect(0, 0, layout.width, layout.height);
  paint.save();
  paint.beginPath();
  paint.rect(left, top, plot.width, plot.height);
  paint.clip();
  paint.fillStyle = hatched(paint);
  paint.fillRect(left, top, plot.width, plot.height);
  const [first] = layout.patches;
  const [x, y] = [plot.width / view.width, plot.height / view.height];
  paint.imageSmoothingEnabled = false;
  for (const { patch, picture } of pictures) {
    const across = left + (patch.columns.start - (first?.columns.start ?? 0) - view.left) * x;
    const down = top + (patch.rows.start - (first?.rows.start ?? 0) - view.top) * y;
    if (patch !== first) {
      const [width, height] = [patch.columns.end - patch.columns.start, patch.rows.end - patch.rows.start];
      paint.fillStyle = color("editor-background");
      paint.fillRect(across, down, width * x, height * y);
      paint.fillStyle = hatched(paint);
      paint.fillRect(across, down, width * x, height * y);
    }
    // A picture may end in a cell that stands for fewer than the others: it is cut off by the clip.
    paint.drawImage(
      picture,
      across,
      down,
      cells(patch.columns) * patch.columns.block * x,
      cells(patch.rows) * patch.rows.block * y,
    );
  }
  grid(paint, layout, view);
  paint.restore();
  labels(paint, layout, view, chosen);
}

/** What stands for masked cells. */
function hatched(paint: CanvasRenderingContext2D): CanvasPattern | string {
  const side = 6;
  const tile = document.createElement("canvas");
  tile.width = side;
  tile.height = side;
  const ink = tile.getContext("2d");
  if (ink === null) {
    return "transparent";
  }
  ink.strokeStyle = color("descriptionForeground") || "#888";
  ink.globalAlpha = 0.45;
  ink.lineWidth = 0.8;
  ink.beginPath();
  for (const from of [-side, 0, side]) {
    ink.moveTo(from, side);
    ink.lineTo(from + side, 0);
  }
  ink.stroke();
  return paint.createPattern(tile, "repeat") ?? "transparent";
}

function grid(paint: CanvasRenderingContext2D, { left, top, plot }: Layout, view: Viewport): void {
  const [x, y] = [plot.width / view.width, plot.height / view.height];
  paint.fillStyle = color("editor-background");
  if (x >= 9) {
    for (let at = Math.ceil(view.left); at <= view.left + view.width; at++) {
      paint.fillRect(left + (at - view.left) * x - 0.5, top, 1, plot.height);
    }
  }
  if (y >= 9) {
    for (let at = Math.ceil(view.top); at <= view.top + view.height; at++) {
      paint.fillRect(left, top + (at - view.top) * y - 0.5, plot.width, 1);
    }
  }
}

function labels(paint: CanvasRenderingContext2D, layout: Layout, view: Viewport, chosen: number | undefined): void {
  const { left, top, plot, patches } = layout;
  const [first] = patches;
  const { rows, columns } = seen(view, { rows: Number.POSITIVE_INFINITY, columns: Number.POSITIVE_INFINITY });
  const [x, y] = [plot.width / view.width, plot.height / view.height];
  paint.textBaseline = "middle";
  paint.textAlign = "right";
  const start = first?.rows.start ?? 0;
  const shown = labelled(rows, y, LINE);
  for (const row of chosen === undefined
    ? shown
    : [...shown.filter((each) => Math.abs(each + start - chosen) * y >= LINE), chosen - start]) {
    const at = top + (row + 0.5 - view.top) * y;
    if (at >= top && at <= top + plot.height) {
      const isChosen = row + start === chosen;
      paint.fillStyle = color(isChosen ? "editor-foreground" : "descriptionForeground");
      paint.font = font(isChosen ? "bold" : "");
      paint.fillText(shortened(paint, labelOf(patches, "rows", row + start), left - 8), left - 5, at);
    }
  }
  paint.textAlign = "left";
  paint.font = font();
  paint.fillStyle = color("descriptionForeground");
  for (const column of labelled(columns, x, LINE)) {
    const at = left + (column + 0.5 - view.left) * x;
    if (at >= left && at <= left + plot.width) {
      paint.save();
      paint.translate(at, top - 4);
      paint.rotate(SLANT);
      paint.fillText(labelOf(patches, "columns", column + (first?.columns.start ?? 0)), 0, 0);
      paint.restore();
    }
  }
  if (chosen !== undefined) {
    outline(paint, layout, (chosen - start - view.top) * y, y);
  }
}

/** The chosen row. */
function outline(paint: CanvasRenderingContext2D, { left, top, plot }: Layout, from: number, height: number): void {
  if (from + height > 0 && from < plot.height) {
    paint.strokeStyle = color("focusBorder");
    paint.lineWidth = 1;
    paint.strokeRect(
      left - 0.5,
      top + Math.max(from, 0) - 0.5,
      plot.width + 1,
      Math.max(Math.min(height, plot.height - from), 2) + 1,
    );
  }
}

/** The token at a position; where only blocks of tokens are known, the position. */
function labelOf(patches: readonly Patch[], axis: "rows" | "columns", position: number): string {
  const exact = patches.find(
    (patch) => patch[axis].block === 1 && patch[axis].labels.length > 0 && cellOf(patch[axis], position) !== undefined,
  );
  return exact ? onAxis(exact[axis].labels[position - exact[axis].start] ?? "") : String(position);
}

function shortened(paint: CanvasRenderingContext2D, text: string, width: number): string {
  let short = text;
  while (short.length > 1 && paint.measureText(short).width > width) {
    short = `${short.slice(0, -2)}…`;
  }
  return short;
}

export function drawPointer(
  canvas: HTMLCanvasElement,
  { left, top, plot }: Layout,
  view: Viewport,
  cursor: { row: number; column: number } | undefined,
): void {
  const paint = begin(canvas);
  if (cursor === undefined) {
    return;
  }
  const [x, y] = [plot.width / view.width, plot.height / view.height];
  const [across, down] = [left + (cursor.column - view.left) * x, top + (cursor.row - view.top) * y];
  paint.strokeStyle = color("editor-foreground");
  paint.lineWidth = 1.5;
  paint.strokeRect(across, down, Math.max(x, 2), Math.max(y, 2));
  paint.globalAlpha = 0.25;
  paint.fillStyle = color("editor-foreground");
  paint.fillRect(left, down + y / 2, across - left, 1);
  paint.fillRect(across + x / 2, top, 1, down - top);
}
