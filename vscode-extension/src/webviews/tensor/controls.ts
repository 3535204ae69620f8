// Which two axes are seen, and where the others are cut.

import type { TensorAxis } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { type Choice, withAxis } from "./page";

export class Controls {
  readonly element = h("div", { class: "bar", role: "group", "aria-label": "Axes" });
  #key = "";

  constructor(private readonly changed: (choice: Choice) => void) {}

  show(axes: readonly TensorAxis[], choice: Choice): void {
    const key = JSON.stringify([axes.map(({ name, size }) => [name, size]), choice]);
    if (key === this.#key) {
      return;
    }
    this.#key = key;
    const focused = this.element.querySelector<HTMLElement>(":focus")?.getAttribute("aria-label");
    const many = axes.length > 1;
    const others = axes.flatMap((axis, at) =>
      at === choice.rows || at === choice.columns ? [] : [this.#index(axis, at, choice)],
    );
    fill(
      this.element,
      ...(many ? [this.#along("rows", axes, choice), this.#along("columns", axes, choice)] : []),
      ...others,
    );
    for (const control of this.element.querySelectorAll<HTMLElement>("[aria-label]")) {
      if (control.getAttribute("aria-label") === focused) {
        control.focus();
      }
    }
  }

  #along(which: "rows" | "columns", axes: readonly TensorAxis[], choice: Choice): HTMLElement {
    const options = axes.map(({ name, size }, at) =>
      h("option", { value: at, selected: at === choice[which] }, `${name} (${size})`),
    );
    const label = which === "rows" ? "Rows" : "Columns";
    const select = h(
      "select",
      { "aria-label": label, onchange: () => this.changed(withAxis(choice, which, Number(select.value))) },
      ...options,
    );
    return h("label", {}, label, select);
  }

  #index({ name, size }: TensorAxis, at: number, choice: Choice): HTMLElement {
    const input = h("input", {
      type: "number",
      min: 0,
      max: size - 1,
      value: choice.index[at] ?? 0,
      "aria-label": `Index of ${name}, of ${size}`,
      onchange: () => {
        const wanted = Math.max(0, Math.min(size - 1, Math.round(Number(input.value) || 0)));
        this.changed({ ...choice, index: choice.index.map((each, axis) => (axis === at ? wanted : each)) });
      },
    });
    return h("label", {}, name, input, h("span", {}, `of ${size}`));
  }
}
