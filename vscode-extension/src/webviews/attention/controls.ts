// What a person can choose: order and kind of heads, whether a sink is shown, another step to compare with.

import { fill, h } from "../shared/dom";
import { choices } from "../shared/host";
import { type Head, KINDS, type Sort } from "./heads";

export type Sink = "" | "first" | "highest";

/** What outlives a restart of the window. */
export interface Kept {
  sort: Sort;
  kind: string;
  sink: Sink;
  /** Name of a head; what tells most when missing. */
  head?: string;
}

export class Controls {
  readonly element = h("div", { class: "bar", role: "group", "aria-label": "What is shown" });
  readonly kept: Kept = { sort: "layer", kind: "", sink: "", ...choices.get<Partial<Kept>>({}) };
  /** A step to compare with. */
  other: number | undefined;
  isDifference = false;
  readonly #kind: HTMLSelectElement;
  readonly #step: HTMLInputElement;
  readonly #how: HTMLSelectElement;

  constructor(readonly changed: () => void) {
    const sort = this.#select("sort", [
      ["layer", "layer"],
      ["kind", "kind"],
      ["entropy", "entropy"],
    ]);
    this.#kind = this.#select("kind", []);
    this.#kind.setAttribute("aria-label", "Kind of heads");
    const sink = this.#select("sink", [
      ["", "as it is"],
      ["first", "without the first token"],
      ["highest", "without each head's highest key"],
    ]);
    this.#step = h("input", { type: "number", min: 0, placeholder: "none", onchange: () => this.#compare() });
    this.#how = h(
      "select",
      { "aria-label": "How steps are compared", onchange: () => this.#compare() },
      h("option", { value: "" }, "side by side"),
      h("option", { value: "difference" }, "difference"),
    );
    fill(
      this.element,
      h("label", {}, "Order", sort),
      h("label", {}, "Heads", this.#kind),
      h("label", {}, "Weights", sink),
      h("label", {}, "Compare with step", this.#step, this.#how),
    );
    this.#how.hidden = true;
  }

  keep(change: Partial<Kept>): void {
    Object.assign(this.kept, change);
    choices.set(this.kept);
    this.changed();
  }

  /** Offers the kinds that there are, and the steps. */
  offer(heads: readonly Head[], steps: number): void {
    const count = (kind: string): number => heads.filter(({ is }) => is.kind === kind).length;
    const kinds = KINDS.filter((kind) => count(kind) > 0 || kind === this.kept.kind);
    const options = [["", `all ${heads.length}`], ...kinds.map((kind) => [kind, `${kind} (${count(kind)})`])];
    fill(
      this.#kind,
      ...options.map(([value = "", text]) => h("option", { value, selected: value === this.kept.kind }, text)),
    );
    this.#step.max = String(steps);
  }

  #compare(): void {
    const step = this.#step.valueAsNumber;
    this.other = Number.isNaN(step) ? undefined : Math.max(0, Math.min(step, Number(this.#step.max)));
    this.isDifference = this.#how.value === "difference";
    this.#how.hidden = this.other === undefined;
    this.changed();
  }

  #select(name: "sort" | "kind" | "sink", options: [string, string][]): HTMLSelectElement {
    const select = h("select", { onchange: () => this.keep({ [name]: select.value }) });
    fill(select, ...options.map(([value, text]) => h("option", { value, selected: value === this.kept[name] }, text)));
    return select;
  }
}
