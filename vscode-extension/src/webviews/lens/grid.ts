// The table as it is seen: the last layer at the top, the text at the bottom, what followed it above.

import type { LensLayer } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { cssOf, inkOn, type Scale } from "../shared/heatmap/colors";
import { visible } from "../shared/heatmap/labels";
import { type LensTable, layerName, type Measure, measured, percent, type Range } from "./table";

export interface Shown {
  table: LensTable;
  measure: Measure;
  watched: number;
  range: Range;
  scale: Scale;
  /** What really follows each position, where it is known. */
  next: ReadonlyMap<number, string>;
  /** Where the run stands. */
  here: (layer: LensLayer) => boolean;
}

/** A cell by its place in the table. */
export interface Spot {
  layer: number;
  column: number;
}

export interface Listeners {
  look(spot: Spot): void;
  go(spot: Spot): void;
  watch(spot: Spot): void;
  /** More positions are wanted at an end. */
  more(direction: -1 | 1): void;
}

export class Grid {
  readonly element: HTMLElement;
  readonly #table = h("table", {
    class: "lens",
    role: "grid",
    "aria-label": "What every layer would say: arrows look around, Enter goes there, W watches the token",
  });
  #shown: Shown | undefined;
  #spot: Spot = { layer: 0, column: 0 };
  #cells: HTMLElement[][] = [];

  constructor(private readonly listeners: Listeners) {
    this.element = h("div", { class: "scrolled", onscroll: () => this.#scrolled() }, this.#table);
    const onCell = (event: Event, action: (spot: Spot) => void): void => {
      const spot = spotOf(event.target as Element);
      if (spot) {
        action(spot);
      }
    };
    this.#table.addEventListener("click", (event) => onCell(event, (spot) => listeners.go(spot)));
    this.#table.addEventListener("pointerover", (event) => onCell(event, (spot) => this.#look(spot)));
    this.#table.addEventListener("focusin", (event) => onCell(event, (spot) => this.#look(spot)));
    this.#table.addEventListener("keydown", (event) => this.#pressed(event));
  }

  get spot(): Spot {
    return this.#spot;
  }

  /** Paints, with the cursor on `spot`. Where the focus is in the table, it stays there. */
  show(shown: Shown, spot: Spot): void {
    const hadFocus = this.#table.contains(document.activeElement);
    const { columns, layers } = shown.table;
    this.#shown = shown;
    this.#spot = spot;
    this.#cells = layers.map((layer, at) =>
      columns.map((_, column) => this.#cell(shown, layer, { layer: at, column })),
    );
    const lines = layers.map((layer, at) =>
      h(
        "tr",
        { class: shown.here(layer) ? "here" : undefined },
        h("th", { scope: "row", title: layer.path || "what goes into the first layer" }, layerName(layer)),
        ...(this.#cells[at] ?? []),
      ),
    );
    fill(this.#table, h("thead", {}, ...heads(shown)), h("tbody", {}, ...lines.reverse()), h("tfoot", {}, feet(shown)));
    this.#mark();
    if (hadFocus) {
      this.#cellAt(spot)?.focus({ preventScroll: true });
    }
  }

  /** Scrolls to the last position. */
  revealLast(): void {
    this.element.scrollLeft = this.element.scrollWidth;
  }

  #cell({ table, measure, watched, range, scale }: Shown, layer: LensLayer, spot: Spot): HTMLElement {
    const column = table.columns[spot.column];
    const cell = column?.cells[spot.layer];
    const [top] = cell?.top ?? [];
    const value = measured(cell, measure, watched);
    const made = h(
      "td",
      {
        tabindex: "-1",
        role: "gridcell",
        class: column?.recomputed ? "recomputed" : undefined,
        "data-layer": spot.layer,
        "data-column": spot.column,
        "aria-label": top
          ? `${layerName(layer)}, position ${column?.position ?? 0}: ${top.text}, ${percent(top.probability)}`
          : "nothing",
      },
      top ? visible(top.text) : "",
    );
    if (value !== undefined) {
      const share = range.share(value);
      made.style.backgroundColor = cssOf(scale, share);
      made.style.color = inkOn(scale, share);
    }
    return made;
  }

  #look(spot: Spot): void {
    this.#spot = spot;
    this.#mark();
    this.listeners.look(spot);
  }

  #mark(): void {
    for (const marked of this.#table.querySelectorAll("td.looked")) {
      marked.classList.remove("looked");
      marked.setAttribute("tabindex", "-1");
    }
    const cell = this.#cellAt(this.#spot);
    cell?.classList.add("looked");
    cell?.setAttribute("tabindex", "0");
  }

  #cellAt({ layer, column }: Spot): HTMLElement | undefined {
    return this.#cells[layer]?.[column];
  }

  #pressed(event: KeyboardEvent): void {
    const spot = spotOf(event.target as Element);
    if (!spot || !this.#shown || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const { layers, columns } = this.#shown.table;
    const moves: Record<string, Spot> = {
      ArrowUp: { ...spot, layer: Math.min(spot.layer + 1, layers.length - 1) },
      ArrowDown: { ...spot, layer: Math.max(spot.layer - 1, 0) },
      ArrowLeft: { ...spot, column: spot.column - 1 },
      ArrowRight: { ...spot, column: spot.column + 1 },
      PageUp: { ...spot, layer: layers.length - 1 },
      PageDown: { ...spot, layer: 0 },
      Home: { ...spot, column: 0 },
      End: { ...spot, column: columns.length - 1 },
    };
    const to = moves[event.key];
    if (to) {
      const isOutside = to.column < 0 || to.column >= columns.length;
      if (isOutside) {
        this.listeners.more(to.column < 0 ? -1 : 1);
      } else {
        this.#cellAt(to)?.focus();
      }
    } else if (event.key === "Enter" || event.key === " ") {
      this.listeners.go(spot);
    } else if (event.key === "w") {
      this.listeners.watch(spot);
    } else {
      return;
    }
    event.preventDefault();
  }

  #scrolled(): void {
    const { scrollLeft, scrollWidth, clientWidth } = this.element;
    if (scrollWidth > clientWidth && scrollLeft < 4) {
      this.listeners.more(-1);
    }
  }
}

function spotOf(target: Element): Spot | undefined {
  const cell = target.closest<HTMLElement>("td[data-layer]");
  return cell ? { layer: Number(cell.dataset.layer), column: Number(cell.dataset.column) } : undefined;
}

/** What really follows. */
function heads({ table, next }: Shown): HTMLElement[] {
  const cells = table.columns.map(({ position }) => {
    const text = position === undefined ? undefined : next.get(position);
    return h(
      "th",
      { scope: "col", class: "token", title: "what follows in the text" },
      text === undefined ? "" : visible(text),
    );
  });
  return [h("tr", {}, h("th", { class: "corner", title: "what follows in the text" }, "next"), ...cells)];
}

/** What stands at each position. */
function feet({ table }: Shown): HTMLElement {
  const cells = table.columns.map(({ position, token, recomputed, padding }) =>
    h(
      "th",
      { scope: "col", class: recomputed ? "recomputed" : undefined },
      h("span", { class: "token" }, token ? visible(token.text) : padding ? "padding" : "the whole text"),
      h("span", { class: "at" }, position === undefined ? "" : `${position}${recomputed ? " ≈" : ""}`),
    ),
  );
  return h("tr", {}, h("th", { class: "corner" }, h("span", {}, "token"), h("span", { class: "at" }, "at")), ...cells);
}
