// The chart over all steps: thin bars, the present step, the one that is wished for.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { isAtAnomaly } from "../shared/anomaly";
import type { Measure } from "../shared/text";
import { color } from "../shared/theme";
import type { Bars } from "./rows";

const HEIGHT = 150;
const AXIS = 52;
/** The scale has room for so many steps, so that the first one is a bar and no wall. */
const FEWEST = 4;

export interface ChartData {
  rows: Bars;
  measure: Measure;
  /** The highest entropy of the scale, in nats. */
  scale: number;
  present: number;
}

export class Chart {
  #plot: uPlot | undefined;
  #data: ChartData | undefined;
  /** The step that the person points at, in a drag. */
  #wished: number | undefined;

  constructor(private readonly parent: HTMLElement) {
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#width(), height: HEIGHT })).observe(parent);
  }

  show(data: ChartData): void {
    const isSame = this.#plot !== undefined && this.#data?.measure === data.measure && this.#data.scale === data.scale;
    this.#data = data;
    if (isSame) {
      this.#plot?.setData(data.rows);
    } else {
      this.restyle();
    }
  }

  /** Made anew, in the colours of the theme. */
  restyle(): void {
    this.#plot?.destroy();
    if (this.#data) {
      this.#plot = new uPlot(this.#options(this.#data), this.#data.rows, this.parent);
    }
  }

  wish(step: number | undefined): void {
    this.#wished = step;
    this.redraw();
  }

  redraw(): void {
    this.#plot?.redraw(false);
  }

  get canvas(): HTMLCanvasElement {
    return this.#plot?.ctx.canvas ?? document.createElement("canvas");
  }

  /** The step under a place on the screen. */
  stepAt(clientX: number): number {
    const plot = this.#plot;
    if (!plot) {
      return 0;
    }
    const step = Math.round(plot.posToVal(clientX - plot.over.getBoundingClientRect().left, "x"));
    return Math.max(0, Math.min(step, plot.data[0].length - 1));
  }

  /** From where to where a step reaches, in pixels from the left of the parent. */
  extent(step: number): [number, number] {
    const plot = this.#plot;
    if (!plot) {
      return [0, 0];
    }
    const left = plot.over.getBoundingClientRect().left - this.parent.getBoundingClientRect().left;
    return [left + plot.valToPos(step - 0.5, "x"), left + plot.valToPos(step + 0.5, "x")];
  }

  #width(): number {
    return Math.max(200, this.parent.clientWidth);
  }

  #options({ measure, scale }: ChartData): uPlot.Options {
    const quiet = color("descriptionForeground");
    const grid = { stroke: color("editorWidget-border") || quiet, width: 1 };
    const bars = uPlot.paths.bars?.({ size: [0.8, 40], align: 0 });
    const bar = (fill: string): uPlot.Series => ({
      fill,
      width: 0,
      points: { show: false },
      ...(bars && { paths: bars }),
    });
    const blue = color("charts-blue");
    return {
      width: this.#width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      padding: [8, 0, 0, 0],
      scales: {
        x: { time: false, range: ({ data }) => [-0.5, Math.max(data[0].length, FEWEST) - 0.5] },
        y: { range: [0, measure === "probability" ? 1 : scale] },
      },
      axes: [
        {
          stroke: quiet,
          grid: { show: false },
          ticks: { ...grid, size: 4 },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
          size: 26,
        },
        {
          stroke: quiet,
          grid: { ...grid, dash: [2, 4] },
          ticks: { show: false },
          size: AXIS,
          splits: measure === "probability" ? [0, 0.5, 1] : [0, scale / 2, scale],
          values: (_, splits) => splits.map((at) => (measure === "probability" ? `${100 * at} %` : `${at} nats`)),
        },
      ],
      series: [{}, bar(blue), bar(color("charts-yellow")), bar(`color-mix(in srgb, ${blue} 40%, transparent)`)],
      hooks: { drawClear: [(plot) => this.#band(plot)], draw: [(plot) => this.#line(plot)] },
    };
  }

  /** Behind the bars: the present step. */
  #band(plot: uPlot): void {
    const { present = 0 } = this.#data ?? {};
    this.#paint(plot, present, color(isAtAnomaly() ? "charts-red" : "charts-yellow"), isAtAnomaly() ? 0.45 : 0.28);
  }

  #line(plot: uPlot): void {
    if (this.#wished !== undefined) {
      this.#paint(plot, this.#wished, color("focusBorder"), 0.55);
    }
  }

  #paint({ ctx, bbox, valToPos }: uPlot, step: number, fill: string, opacity: number): void {
    const [from, to] = [valToPos(step - 0.5, "x", true), valToPos(step + 0.5, "x", true)];
    ctx.save();
    ctx.globalAlpha = opacity;
    ctx.fillStyle = fill;
    ctx.fillRect(from, bbox.top, Math.max(2, to - from), bbox.height);
    ctx.restore();
  }
}
