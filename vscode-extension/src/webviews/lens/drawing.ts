// The table as a picture of its own, for files.

import { cssOf, inkOn } from "../shared/heatmap/colors";
import { visible } from "../shared/heatmap/labels";
import { color } from "../shared/theme";
import type { Shown } from "./grid";
import { layerName, measured } from "./table";

const CELL = { width: 84, height: 20 };
const SIDE = 44;
const SVG = "http://www.w3.org/2000/svg";

interface Box {
  x: number;
  y: number;
  width: number;
  text: string;
  fill?: string;
  ink: string;
}

function boxes({ table, next, measure, watched, range, scale }: Shown): { all: Box[]; width: number; height: number } {
  const { layers, columns } = table;
  const all: Box[] = [];
  const ink = color("foreground") || "#888";
  const bottom = (layers.length + 1) * CELL.height;
  for (const [at, { position, token, recomputed, cells }] of columns.entries()) {
    const place = { x: SIDE + at * CELL.width, width: CELL.width, ink };
    all.push({ ...place, y: 0, text: visible(next.get(position ?? -1) ?? " ") });
    all.push({
      ...place,
      y: bottom,
      text: `${visible(token?.text ?? " ")} ${position ?? ""}${recomputed ? " ≈" : ""}`,
    });
    for (const [layer, cell] of cells.entries()) {
      const share = range.share(measured(cell, measure, watched) ?? 0);
      const y = (layers.length - layer) * CELL.height;
      all.push({
        ...place,
        y,
        text: visible(cell.top[0]?.text ?? ""),
        fill: cssOf(scale, share),
        ink: inkOn(scale, share),
      });
    }
  }
  for (const [at, layer] of layers.entries()) {
    all.push({ x: 0, y: (layers.length - at) * CELL.height, width: SIDE, text: layerName(layer), ink });
  }
  return { all, width: SIDE + columns.length * CELL.width, height: bottom + CELL.height };
}

function font(): string {
  return `12px ${getComputedStyle(document.body).getPropertyValue("--vscode-editor-font-family") || "monospace"}`;
}

export function canvasOf(shown: Shown): HTMLCanvasElement {
  const { all, width, height } = boxes(shown);
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  const paint = canvas.getContext("2d") as CanvasRenderingContext2D;
  paint.scale(2, 2);
  paint.fillStyle = color("editor-background") || "#fff";
  paint.fillRect(0, 0, width, height);
  paint.font = font();
  paint.textAlign = "center";
  paint.textBaseline = "middle";
  for (const box of all) {
    if (box.fill) {
      paint.fillStyle = box.fill;
      paint.fillRect(box.x, box.y, box.width - 1, CELL.height - 1);
    }
    paint.fillStyle = box.ink;
    paint.fillText(box.text, box.x + box.width / 2, box.y + CELL.height / 2, box.width - 4);
  }
  return canvas;
}

export function svgOf(shown: Shown): SVGSVGElement {
  const { all, width, height } = boxes(shown);
  const drawn = element("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    "font-size": 12,
    "font-family": "monospace",
  });
  drawn.append(element("rect", { width, height, fill: color("editor-background") || "#fff" }));
  for (const { x, y, width: wide, text, fill, ink } of all) {
    if (fill) {
      drawn.append(element("rect", { x, y, width: wide - 1, height: CELL.height - 1, fill }));
    }
    const written = element("text", { x: x + wide / 2, y: y + 14, fill: ink, "text-anchor": "middle" });
    written.textContent = text;
    drawn.append(written);
  }
  return drawn as SVGSVGElement;
}

function element(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) {
    made.setAttribute(attribute, String(value));
  }
  return made;
}
