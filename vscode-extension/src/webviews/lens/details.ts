// One cell in full: what is most likely there, the watched tokens, the residual stream.

import type { LensCandidate, LensCell, LensColumn, LensLayer } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { number } from "../shared/table";
import { percent } from "./table";

export class Details {
  readonly element = h("section", { class: "details", "aria-label": "The cell that is looked at" });

  constructor(private readonly watch: (token: LensCandidate) => void) {}

  show(layer: LensLayer, column: LensColumn, cell: LensCell | undefined): void {
    const where = layer.index < 0 ? "What goes into the first layer" : `After ${layer.path}`;
    const text = column.token ? ` · ${JSON.stringify(column.token.text)} at ${column.position}` : "";
    fill(
      this.element,
      h("h2", {}, where, h("span", { class: "quiet-text" }, text)),
      h("p", { class: "facts", role: "status" }, ...facts(cell)),
      cell ? this.#top(cell) : h("p", {}, column.padding ? "This is padding: nothing is said here." : ""),
    );
  }

  #top(cell: LensCell): HTMLElement {
    const watched = new Set(cell.watched.map(({ id }) => id));
    const row = (token: LensCandidate): HTMLElement =>
      h(
        "tr",
        { class: watched.has(token.id) ? "watched" : undefined },
        h("th", { scope: "row", class: "token" }, JSON.stringify(token.text)),
        h("td", {}, h("meter", { min: 0, max: 1, value: token.probability ?? 0, "aria-hidden": "true" })),
        h("td", {}, percent(token.probability)),
        h("td", {}, String(token.rank)),
        h("td", {}, token.logit === undefined ? "–" : number(token.logit)),
        h(
          "td",
          {},
          h(
            "button",
            {
              class: "quiet",
              title: `Watch ${JSON.stringify(token.text)} over the layers`,
              onclick: () => this.watch(token),
            },
            "watch",
          ),
        ),
      );
    const isTop = new Set(cell.top.map(({ id }) => id));
    const others = cell.watched.filter(({ id }) => !isTop.has(id));
    const names = ["token", "", "probability", "rank", "logit", ""];
    return h(
      "table",
      { class: "candidates" },
      h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...cell.top.map(row), ...others.map(row)),
    );
  }
}

function facts(cell: LensCell | undefined): string[] {
  if (!cell) {
    return [];
  }
  const named: [string, number | undefined][] = [
    ["norm", cell.norm],
    ["added", cell.update],
    ["cosine to the last", cell.cosine],
  ];
  return [named.map(([name, value]) => `${name} ${value === undefined ? "not finite" : number(value)}`).join(" · ")];
}
