// All heads as small pictures, a row for every layer, or in another order.

import type { AttentionHead } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import type { Scale } from "../shared/heatmap/colors";
import { pictureOf } from "../shared/heatmap/picture";
import { type Head, kindOf, type Sort, sentence } from "./heads";
import { hides, patchOf, pooled } from "./patch";

const SIDE = 64;
const MANY = 16;

export interface Choice {
  sort: Sort;
  /** Name of the head that is shown large. */
  selected: string | undefined;
  /** Path of the layer where the run stands. */
  here: (head: Head) => boolean;
}

export class Overview {
  readonly element = h("div", { class: "overview", role: "listbox", "aria-label": "All heads" });
  #heads: readonly Head[] = [];
  #pictures = new WeakMap<AttentionHead, HTMLCanvasElement>();
  #colors = "";

  constructor(readonly pick: (name: string) => void) {
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  show(heads: readonly Head[], scale: Scale, { sort, selected, here }: Choice): void {
    this.#follow(scale);
    const hadFocus = this.element.contains(document.activeElement);
    this.#heads = heads;
    const buttons = heads.map((head) => this.#button(head, scale, sort, head.name === selected));
    const rows = sort === "layer" ? byLayer(heads, buttons, here) : [h("div", { class: "heads" }, ...buttons)];
    const isMany = heads.some(({ call }) => call.headCount > MANY);
    this.element.className = `overview ${isMany ? "many" : ""}`;
    fill(this.element, ...rows);
    const current = this.#chosen ?? this.element.querySelector<HTMLElement>("button");
    current?.setAttribute("tabindex", "0");
    if (hadFocus) {
      current?.focus();
    }
  }

  get #chosen(): HTMLElement | null {
    return this.element.querySelector("[aria-selected=true]");
  }

  #button(head: Head, scale: Scale, sort: Sort, isSelected: boolean): HTMLElement {
    const kind = head.is.kind ?? "";
    const label = `${sort === "layer" ? head.is.head : head.name} ${kind === "previous token" ? "previous" : kind}`;
    return h(
      "button",
      {
        class: `head kind-${kind.replace(" ", "-")}`,
        role: "option",
        "aria-selected": isSelected ? "true" : "false",
        "aria-label": `head ${head.name}, ${kindOf(head.is)}`,
        title: `Head ${head.name}: ${[kindOf(head.is), sentence(head)].filter(Boolean).join(" · ")}`,
        tabindex: -1,
        "data-head": head.name,
        onclick: () => this.pick(head.name),
      },
      this.#picture(head, scale),
      h("span", { class: "name" }, label),
    );
  }

  /** Paints anew in other colours. */
  #follow({ colors }: Scale): void {
    if (colors.join() !== this.#colors) {
      this.#colors = colors.join();
      this.#pictures = new WeakMap();
    }
  }

  #picture(head: Head, scale: Scale): HTMLCanvasElement {
    const kept = this.#pictures.get(head.is);
    const picture = kept ?? pictureOf(pooled(patchOf(head), SIDE), scale, hides(head.call));
    picture.setAttribute("aria-hidden", "true");
    this.#pictures.set(head.is, picture);
    return picture;
  }

  #key(event: KeyboardEvent): void {
    const at = this.#heads.findIndex(({ name }) => name === (event.target as HTMLElement).dataset.head);
    const across = this.#perRow(at);
    const moves: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    const move = moves[event.key];
    const to = this.#heads[at + (move ?? 0)];
    if (at >= 0 && move !== undefined && to) {
      event.preventDefault();
      this.element.querySelector<HTMLElement>(`[data-head="${CSS.escape(to.name)}"]`)?.focus();
      this.pick(to.name);
    }
  }

  /** How many heads stand in the row of one, as it is laid out. */
  #perRow(at: number): number {
    const all = [...this.element.querySelectorAll<HTMLElement>("button.head")];
    const top = all[at]?.offsetTop;
    return all.filter((each) => each.offsetTop === top).length || 1;
  }
}

function byLayer(
  heads: readonly Head[],
  buttons: readonly HTMLElement[],
  here: (head: Head) => boolean,
): HTMLElement[] {
  const layers = [...new Set(heads.map(({ layer }) => layer))];
  return layers.map((layer) => {
    const own = heads.map((head, at) => ({ head, button: buttons[at] })).filter(({ head }) => head.layer === layer);
    const isHere = own.some(({ head }) => here(head));
    return h(
      "div",
      { class: `heads ${isHere ? "here" : ""}`, role: "group", "aria-label": `layer ${layer}` },
      h("span", { class: "layer", title: isHere ? "The run stands in this layer" : `Layer ${layer}` }, layer),
      ...own.map(({ button }) => button),
    );
  });
}
