// Statistics, histogram, quantiles and outliers, as the debugger gives them.

import type { TensorAxis, TensorDistribution, TensorResponseBody, TensorStatistics } from "../../protocol/messages";
import { axis, decades, uPlot } from "../shared/chart";
import { fill, h } from "../shared/dom";
import { number, tableElement } from "../shared/table";
import { color } from "../shared/theme";
import { histogramTable, quantileTable, statisticsTable } from "./rows";

export class Numbers {
  readonly element = h("div", { class: "numbers" });
  #chart: uPlot | undefined;

  constructor(private readonly go: (index: readonly number[]) => void) {}

  show({ axes, statistics, distribution }: TensorResponseBody, of: string): void {
    this.#chart?.destroy();
    this.#chart = undefined;
    fill(
      this.element,
      statistics && this.#statistics(statistics, distribution, of),
      distribution && this.#outliers(distribution, axes),
      distribution && this.#histogram(distribution),
    );
  }

  #statistics(statistics: TensorStatistics, distribution: TensorDistribution | undefined, of: string): HTMLElement {
    const table = tableElement(statisticsTable(statistics, of));
    if (statistics.nan + statistics.positiveInf + statistics.negativeInf > 0) {
      table.classList.add("not-finite");
    }
    const first = distribution?.firstNonFinite;
    return h("section", {}, table, first && h("p", {}, "First not finite: ", this.#place(first)));
  }

  #histogram(distribution: TensorDistribution): HTMLElement {
    const { edges, counts, sample } = distribution;
    const plot = h("div", { class: "histogram", "aria-hidden": "true" });
    const section = h(
      "section",
      {},
      h("h2", {}, "Histogram", sample === undefined ? "" : ` of ${sample.toLocaleString("en")} drawn at random`),
      counts.length === 0 ? h("p", {}, "There is no finite number.") : plot,
      distribution.quantiles.length > 0 ? tableElement(quantileTable(distribution)) : undefined,
      tableElement(histogramTable(distribution), { hidden: true }),
    );
    if (counts.length > 0) {
      this.#chart = new uPlot(options(counts), [edges, [...counts.map((count) => count || null), null]], plot);
    }
    return section;
  }

  #outliers({ farthest }: TensorDistribution, axes: readonly TensorAxis[]): HTMLElement {
    const row = (index: readonly number[], value: number): HTMLElement =>
      h("tr", {}, h("th", { scope: "row" }, this.#place(index)), h("td", {}, number(value)));
    return h(
      "section",
      {},
      h(
        "table",
        {},
        h("caption", {}, "Farthest from 0"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, axes.map(({ name }) => name).join(", ")),
            h("th", { scope: "col" }, "value"),
          ),
        ),
        h("tbody", {}, ...farthest.map(({ index, value }) => row(index, value))),
      ),
    );
  }

  #place(index: readonly number[]): HTMLElement {
    const title = "Show where it is";
    return h("button", { class: "quiet place", title, onclick: () => this.go(index) }, `[${index.join(", ")}]`);
  }
}

/** Bars, with their counts by logarithm: outliers are few. */
function options(counts: readonly number[]): uPlot.Options {
  const most = Math.max(...counts);
  return {
    width: 380,
    height: 190,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false }, y: { distr: 3, log: 10, range: [0.5, Math.max(2, most * 1.4)] } },
    axes: [
      axis({ size: 24 }),
      axis({
        label: "count, by logarithm",
        size: 52,
        splits: decades,
        values: (_chart, ticks) => ticks.map((tick) => (tick ? short(tick) : "")),
      }),
    ],
    series: [
      {},
      {
        fill: color("charts-blue"),
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars?.({ size: [1, 100], align: 1, gap: 1 }) ?? (() => null),
      },
    ],
  };
}

function short(count: number): string {
  return count < 1e4 ? String(count) : count < 1e6 ? `${count / 1e3} k` : `${count / 1e6} M`;
}
