// Charts in the colours of the theme, drawn by uPlot.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { color } from "./theme";

const COLORS = ["charts-blue", "charts-orange", "charts-green", "charts-purple", "charts-red", "charts-yellow"];

/** A colour for each of several curves. */
export function curveColor(index: number): string {
  return color(COLORS[index % COLORS.length] ?? "charts-blue") || "#3794ff";
}

/** An axis as the others of the page look. */
export function axis(options: uPlot.Axis = {}): uPlot.Axis {
  const ink = color("descriptionForeground") || color("foreground");
  const lines = color("editorWidget-border") || color("contrastBorder") || "#8884";
  const line = { stroke: lines, width: 1 };
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return {
    stroke: ink,
    font,
    labelFont: font,
    labelSize: 16,
    labelGap: 0,
    grid: line,
    ticks: { ...line, size: 4 },
    ...options,
  };
}

/** Marks of an axis by logarithm: 1, 10, 100 … and none between them. */
export function decades(_chart: uPlot, _axis: number, low: number, high: number): number[] {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => 10 ** (first + at));
}

export { uPlot };
