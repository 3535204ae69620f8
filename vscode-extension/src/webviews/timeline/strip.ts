// The second scale: the layers and the selection of the token, inside the present step.

import { fill, h } from "../shared/dom";
import type { Slot } from "./rows";

/** So many layers have a number each; of more only every fifth, tenth … has one. */
const LABELS = 26;

export class Strip {
  readonly element = h("div", { class: "strip", "aria-label": "Place inside the step" });
  #cells: HTMLElement[] = [];
  #names = "";

  show(slots: Slot[], present: { slot: number; part: number }): void {
    const names = JSON.stringify(slots);
    if (names !== this.#names) {
      this.#names = names;
      const every = [1, 2, 5, 10, 20, 50].find((each) => slots.length / each <= LABELS) ?? 100;
      this.#cells = slots.map((slot, at) => cell(slot, every, at));
      fill(this.element, ...this.#cells);
    }
    for (const [at, element] of this.#cells.entries()) {
      element.classList.toggle("past", at < present.slot);
      element.classList.toggle("present", at === present.slot);
      element.style.setProperty("--part", String(present.part));
    }
  }

  wish(slot: number | undefined): void {
    for (const [at, element] of this.#cells.entries()) {
      element.classList.toggle("wished", at === slot);
    }
  }

  /** The slot under a place on the screen. */
  slotAt(clientX: number): number {
    const found = this.#cells.findIndex((element) => clientX < element.getBoundingClientRect().right);
    return found < 0 ? this.#cells.length - 1 : found;
  }
}

function cell({ label, name, place }: Slot, every: number, at: number): HTMLElement {
  const isLayer = /^\d+$/.test(label);
  const hasLabel = !isLayer || Number(label) % every === 0;
  const kind = isLayer ? "layer" : "other";
  return h(
    "div",
    { class: `slot ${kind}`, title: name, "data-slot": at, "data-path": place.path ?? "" },
    hasLabel ? label : "",
  );
}
