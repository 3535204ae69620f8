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

export { uPlot };
