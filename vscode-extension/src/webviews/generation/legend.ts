// What the colours and marks mean.

import { h } from "../shared/dom";
import type { Measure } from "../shared/text";

/** `scale` is the entropy at the strong end, in nats. */
export function legend(measure: Measure, scale: number): HTMLElement[] {
  const [weak, strong] = measure === "probability" ? ["100 %", "0 %"] : ["0", `${scale} nats`];
  const name = measure === "probability" ? "probability of the choice" : "entropy of the choice";
  return [
    h(
      "span",
      { class: "scale" },
      `${name} `,
      weak,
      h("span", { class: `ramp ${measure}`, "aria-hidden": "true" }),
      strong,
    ),
    h("span", { class: "mark" }, h("span", { class: "sample present", "aria-hidden": "true" }, "abc"), "present"),
    h(
      "span",
      { class: "mark" },
      h("span", { class: "sample future", "aria-hidden": "true" }, "abc"),
      "still to come again",
    ),
    h("span", { class: "mark" }, h("span", { class: "sample special", "aria-hidden": "true" }, "abc"), "special"),
  ];
}
