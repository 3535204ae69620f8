// The numbers about a tensor as tables. Knows no page.

import type { TensorDistribution, TensorStatistics } from "../../protocol/messages";
import { number, type Table } from "../shared/table";

export function statisticsTable(statistics: TensorStatistics, of: string): Table {
  const { mean, std, min, max, norm, zeros, nan, positiveInf, negativeInf } = statistics;
  const written = (value: number | null): string => (value === null ? "–" : number(value));
  const count = (value: number): string => value.toLocaleString("en");
  return {
    caption: `Statistics ${of}`,
    columns: ["", ""],
    rows: [
      ["mean", written(mean)],
      ["std", written(std)],
      ["min", written(min)],
      ["max", written(max)],
      ["norm", written(norm)],
      ["zeros", count(zeros)],
      ["NaN", count(nan)],
      ["+∞", count(positiveInf)],
      ["−∞", count(negativeInf)],
    ],
  };
}

export function quantileTable({ percents, quantiles }: TensorDistribution): Table {
  return {
    caption: "Quantiles",
    columns: percents.map((percent) => `${percent} %`),
    rows: [quantiles.map(number)],
  };
}

export function histogramTable({ edges, counts }: TensorDistribution): Table {
  return {
    caption: "Histogram",
    columns: ["from", "to", "count"],
    rows: counts.map((count, at) => [edges[at] ?? "", edges[at + 1] ?? "", count]),
  };
}
