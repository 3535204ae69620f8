// The keys that a token looks at most, with bars.

import { h } from "../shared/dom";
import { highest } from "./rows";
import { change, weight } from "./text";

const SHOWN = 6;

export function lookTable(
  caption: string,
  { labels, start }: { labels: readonly string[]; start: number },
  weights: Float32Array,
  isDifference: boolean,
): HTMLElement {
  const row = (at: number): HTMLElement => {
    const value = weights[at] ?? 0;
    return h(
      "tr",
      { class: value < 0 ? "less" : undefined },
      h("th", { scope: "row", class: "token" }, labels[at] ?? ""),
      h("td", {}, String(start + at)),
      h("td", {}, h("meter", { min: 0, max: 1, value: Math.abs(value), "aria-hidden": "true" })),
      h("td", {}, isDifference ? change(value) : weight(value)),
    );
  };
  const names = ["token", "at", "", isDifference ? "change" : "weight"];
  return h(
    "table",
    {},
    h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...highest(weights, SHOWN).map(row)),
  );
}
