// A map as a drawing, with its labels as text. The cells are one picture in it, so that large maps stay small files.

import { color } from "../theme";
import { onAxis } from "./labels";
import { type Axis, cells, type Patch } from "./patch";
import { labelled } from "./viewport";

const SPACE = "http://www.w3.org/2000/svg";
const CELL = 18;
const LARGEST = 900;
const LABEL = 13;
const MARGIN = 130;

export function svgOf(patch: Patch, picture: HTMLCanvasElement): SVGSVGElement {
  const [height, width] = [cells(patch.rows), cells(patch.columns)];
  const cell = Math.min(CELL, LARGEST / Math.max(width, height));
  const root = element("svg", {
    width: MARGIN * 1.5 + width * cell,
    height: MARGIN + height * cell + 4,
    "font-family": "monospace",
    "font-size": 11,
    fill: color("editor-foreground"),
  });
  const href = picture.toDataURL();
  root.append(
    element("rect", { width: "100%", height: "100%", fill: color("editor-background") }),
    element("image", {
      href,
      x: MARGIN,
      y: MARGIN,
      width: width * cell,
      height: height * cell,
      preserveAspectRatio: "none",
      "image-rendering": "pixelated",
    }),
  );
  for (const row of labelled({ start: 0, end: height }, cell, LABEL)) {
    const at = { x: MARGIN - 5, y: MARGIN + (row + 0.5) * cell + 4, "text-anchor": "end" };
    root.append(element("text", at, labelOf(patch.rows, row)));
  }
  for (const column of labelled({ start: 0, end: width }, cell, LABEL)) {
    const [x, y] = [MARGIN + (column + 0.5) * cell + 3, MARGIN - 5];
    root.append(element("text", { x, y, transform: `rotate(-60 ${x} ${y})` }, labelOf(patch.columns, column)));
  }
  return root;
}

function element<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number>,
  text = "",
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SPACE, tag) as SVGElementTagNameMap[K];
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, String(value));
  }
  made.textContent = text;
  return made;
}

/** The token of a cell; without labels its position. */
function labelOf({ labels, start, block }: Axis, cell: number): string {
  return labels.length > 0 ? onAxis(labels[cell] ?? "") : String(start + cell * block);
}
