// The text, its tokens coloured by where one of them looks. A click on a token has that one look.

import { fill, h } from "../shared/dom";
import { cssOf, inkOn, type Scale } from "../shared/heatmap/colors";
import { highest } from "./rows";
import { change, inText, weight } from "./text";

export interface Looking {
  /** Quoted, of all tokens from `start` on. */
  labels: readonly string[];
  start: number;
  /** The position that looks, if it is one of them. */
  query: number | undefined;
  /** By token; NaN where it sees nothing, missing behind its end. */
  weights: Float32Array;
  scale: Scale;
  isDifference: boolean;
  /** Position of a key that is left out. */
  leftOut: number | undefined;
}

export class Strip {
  readonly element = h("div", { class: "strip", role: "listbox", tabindex: 0 });
  #tokens: HTMLElement[] = [];
  #labels = "";
  #start = 0;
  #query = 0;
  #shown = "";
  #picked: number | undefined;

  constructor(
    label: string,
    readonly pick: (position: number) => void,
  ) {
    this.element.setAttribute("aria-label", label);
    this.element.addEventListener("click", (event) => {
      const at = (event.target as HTMLElement).dataset.position;
      if (at !== undefined) {
        this.#pick(Number(at));
      }
    });
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  show({ labels, start, query, weights, scale, isDifference, leftOut }: Looking): void {
    this.#fill(labels, start);
    this.#query = query ?? start;
    const nothing = isDifference ? "not in both" : "masked";
    this.#tokens.forEach((token, at) => {
      const position = start + at;
      const value = weights[at] ?? Number.NaN;
      const isQuery = position === query;
      const isOut = position === leftOut;
      const words = Number.isNaN(value) ? nothing : isOut ? "left out" : isDifference ? change(value) : weight(value);
      token.className = `token ${isQuery ? "query" : ""} ${Number.isNaN(value) ? "masked" : ""} ${isOut ? "out" : ""}`;
      token.style.backgroundColor = Number.isNaN(value) || isOut ? "" : cssOf(scale, value);
      token.style.color = Number.isNaN(value) || isOut ? "" : inkOn(scale, value);
      token.title = `${labels[at]} at ${position}: ${words}${isQuery ? ", which looks" : ""}`;
      token.setAttribute("aria-selected", isQuery ? "true" : "false");
    });
    const chosen = query === undefined ? undefined : this.#tokens[query - start];
    if (chosen) {
      this.element.setAttribute("aria-activedescendant", chosen.id);
    }
    this.#scroll(weights);
  }

  #fill(labels: readonly string[], start: number): void {
    const key = JSON.stringify([start, labels]);
    if (key === this.#labels) {
      return;
    }
    this.#labels = key;
    this.#start = start;
    const own = `${this.element.getAttribute("aria-label")}`.replace(/\W+/g, "-");
    this.#tokens = labels.map((label, at) =>
      h("span", { id: `${own}-${at}`, role: "option", "data-position": start + at }, inText(label)),
    );
    fill(
      this.element,
      ...this.#tokens.flatMap((token) => (token.textContent?.endsWith("⏎") ? [token, h("br")] : [token])),
    );
  }

  #key(event: KeyboardEvent): void {
    const last = this.#start + this.#tokens.length - 1;
    const places: Record<string, number> = {
      ArrowLeft: this.#query - 1,
      ArrowUp: this.#query - 1,
      ArrowRight: this.#query + 1,
      ArrowDown: this.#query + 1,
      Home: this.#start,
      End: last,
    };
    const to = places[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.#pick(Math.max(this.#start, Math.min(last, to)));
    }
  }

  #pick(position: number): void {
    this.#picked = position;
    this.pick(position);
  }

  /** Of a long text the part that is looked at most; nothing moves under a pointer that has just chosen. */
  #scroll(weights: Float32Array): void {
    const key = `${this.#query} ${weights.length} ${[...weights.slice(0, 50)].join()}`;
    const [most] = highest(weights, 1);
    if (key !== this.#shown && this.#picked !== this.#query && most !== undefined) {
      const token = this.#tokens[most];
      this.element.scrollTop = token ? token.offsetTop - this.element.clientHeight / 2 : 0;
    }
    this.#shown = key;
    this.#picked = undefined;
  }
}
