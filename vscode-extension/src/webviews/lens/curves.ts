// The watched tokens over the layers, at one position: their probability and their rank.

import { axis, curveColor, decades, uPlot } from "../shared/chart";
import { fill, h } from "../shared/dom";
import { type Table, tableElement } from "../shared/table";
import { type LensTable, layerName, watchedIn } from "./table";

const HEIGHT = 160;
const WIDTH = 246;

export class Curves {
  readonly element = h("section", { class: "curves", "aria-label": "Watched tokens over the layers" });
  #charts: uPlot[] = [];
  #key = "";

  show({ layers, columns }: LensTable, at: number, isDark: boolean): void {
    const column = columns[at];
    const tokens = column ? watchedIn(column) : [];
    const key = JSON.stringify([column, isDark]);
    if (column === undefined || tokens.length === 0) {
      this.#key = "";
      fill(this.element);
      return;
    }
    if (key === this.#key) {
      return;
    }
    this.#key = key;
    const indices = layers.map(({ index }) => index);
    const over = (of: "probability" | "rank"): (number | null)[][] =>
      tokens.map((_, token) => column.cells.map((cell) => cell.watched[token]?.[of] ?? null));
    for (const chart of this.#charts) {
      chart.destroy();
    }
    const [probability, rank] = [h("div", {}), h("div", {})];
    const named = tokens.map(({ text }) => JSON.stringify(text));
    const legend = named.map((name, token) => {
      const mark = h("span", { class: "mark" });
      mark.style.backgroundColor = curveColor(token);
      return h("span", { class: "token" }, mark, name);
    });
    const heading = column.token ? `Watched at ${column.position}, ${JSON.stringify(column.token.text)}` : "Watched";
    fill(
      this.element,
      h("h2", {}, heading),
      h("p", { class: "facts" }, ...legend),
      h("div", { class: "charts" }, probability, rank),
      tableElement(curveTable(heading, layers.map(layerName), named, over("rank"), over("probability")), {
        hidden: true,
      }),
    );
    this.#charts = [
      new uPlot(options("probability", named.length), [indices, ...over("probability")], probability),
      new uPlot(options("rank", named.length), [indices, ...over("rank")], rank),
    ];
  }
}

function options(of: "probability" | "rank", count: number): uPlot.Options {
  const isRank = of === "rank";
  const series = Array.from({ length: count }, (_, at) => ({
    stroke: curveColor(at),
    width: 2,
    points: { show: true, size: 5, fill: curveColor(at) },
  }));
  return {
    width: WIDTH,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false },
      y: isRank
        ? {
            distr: 3,
            log: 10,
            dir: -1,
            range: (_chart, _low, high) => [1, Math.max(10, 10 ** Math.ceil(Math.log10(high)))],
          }
        : { range: [0, 1] },
    },
    axes: [
      axis({
        label: "layer",
        size: 24,
        values: (_chart, ticks) => ticks.map((tick) => (tick < 0 ? "in" : Number.isInteger(tick) ? String(tick) : "")),
      }),
      axis({
        label: isRank ? "rank" : "probability",
        size: isRank ? 44 : 36,
        ...(isRank && {
          splits: decades,
          values: (_chart: uPlot, ticks: number[]) => ticks.map((tick) => (tick ? String(tick) : "")),
        }),
      }),
    ],
    series: [{}, ...series],
  };
}

function curveTable(
  caption: string,
  layers: readonly string[],
  tokens: readonly string[],
  ranks: readonly (number | null)[][],
  probabilities: readonly (number | null)[][],
): Table {
  return {
    caption,
    columns: ["layer", ...tokens.flatMap((token) => [`rank of ${token}`, `probability of ${token}`])],
    rows: layers.map((layer, at) => [
      layer,
      ...tokens.flatMap((_, token) => [ranks[token]?.[at] ?? "", probabilities[token]?.[at] ?? ""]),
    ]),
  };
}
