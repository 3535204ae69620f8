// The comparison of two branches, below the text: tokens, distributions, layers × positions.

import type { Branch, CompareBranchesResponseBody } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { gradient, weightScale } from "../shared/heatmap/colors";
import { HeatMap } from "../shared/heatmap/heatmap";
import type { Patch } from "../shared/heatmap/patch";
import { number, tableElement } from "../shared/table";
import { largest, movementPatch, movementTable, said, stepTable, summary } from "./comparison";

interface Compared {
  body: CompareBranchesResponseBody;
  names: readonly [string, string];
}

export class Comparing {
  readonly element = h("section", { class: "comparing", "aria-label": "Comparison", hidden: true });
  readonly #ramp = h("span", { class: "ramp" });
  #map: HeatMap | undefined;
  #shown: Compared | undefined;
  #count = 0;

  /** `textAt` is the present branch's. */
  constructor(private readonly textAt: (position: number) => string | undefined) {}

  /** Shows that it is under way. */
  wait(one: Branch, other: Branch): void {
    this.element.hidden = false;
    fill(
      this.element,
      h("h2", {}, `${one.name} and ${other.name}`),
      h("p", { class: "facts" }, "Both are run again …"),
    );
  }

  fail(message: string): void {
    fill(this.element, h("p", { class: "notice", role: "alert" }, message));
  }

  close(): void {
    this.element.hidden = true;
    this.#shown = undefined;
  }

  show(body: CompareBranchesResponseBody, one: Branch, other: Branch): void {
    this.#shown = { body, names: [one.name, other.name] };
    this.#count += 1;
    const patch = movementPatch(body, this.textAt);
    fill(
      this.element,
      h(
        "header",
        {},
        h("h2", {}, `${one.name} and ${other.name}`),
        h(
          "div",
          { class: "tools" },
          exportButtons({
            name: "comparison",
            table: () => stepTable(body, [one.name, other.name]),
            ...(patch && { canvas: () => this.#heatMap.canvas, drawing: () => this.#heatMap.drawing }),
          }),
          h("button", { class: "quiet", "aria-label": "Close the comparison", onclick: () => this.close() }, "Close"),
        ),
      ),
      h("p", { role: "status" }, summary(body)),
      ...(body.steps.length > 0 ? [this.#steps(this.#shown)] : []),
      ...this.#movement(body, patch),
    );
  }

  repaint(): void {
    const patch = this.#shown && movementPatch(this.#shown.body, this.textAt);
    if (this.#shown && patch) {
      this.#draw(this.#shown.body, patch);
    }
  }

  get #heatMap(): HeatMap {
    this.#map ??= new HeatMap(
      "How far the residual stream is apart, layers by positions",
      { pick: () => undefined },
      "Arrows move and tell the numbers, + and - zoom, 0 shows all.",
    );
    return this.#map;
  }

  #steps({ body, names }: Compared): HTMLElement {
    const table = tableElement(stepTable(body, names));
    const rows = [...table.querySelectorAll("tbody tr")];
    rows[body.steps.findIndex(({ step }) => step === body.divergence)]?.classList.add("first");
    return h("div", { class: "scrolled" }, table);
  }

  #movement(body: CompareBranchesResponseBody, patch: Patch | undefined): HTMLElement[] {
    if (patch === undefined) {
      return body.problem ? [h("p", { class: "facts" }, `No layers by positions: ${body.problem}`)] : [];
    }
    const scale = h(
      "p",
      { class: "legend", "aria-hidden": "true" },
      "0",
      this.#ramp,
      `${number(largest(patch))} of the norm`,
    );
    this.#draw(body, patch);
    return [
      h("h3", {}, "Residual stream, layers × positions: how far apart"),
      this.#heatMap.element,
      scale,
      h("details", {}, h("summary", {}, "Layers × positions as a table"), tableElement(movementTable(body, patch))),
    ];
  }

  #draw(body: CompareBranchesResponseBody, patch: Patch): void {
    const most = largest(patch);
    this.#ramp.style.backgroundImage = gradient(weightScale(), 0, 1);
    const { colors, index } = weightScale();
    this.#heatMap.show({
      key: `${body.a} ${body.b}`,
      version: String(this.#count),
      patch,
      scale: { colors, index: (value) => index(value / most) },
      hides: () => false,
      chosen: undefined,
      say: (row, column) => said(body, patch, row, column),
    });
  }
}
