// The tokens that are watched: an input, and a button for each that ends it.

import { curveColor } from "../shared/chart";
import { fill, h } from "../shared/dom";

export class Watching {
  readonly element = h("div", { class: "watching", role: "group", "aria-label": "Watched tokens" });
  readonly #chips = h("span", { class: "chips" });
  readonly #message = h("span", { class: "message error", role: "alert" });
  readonly #input = h("input", {
    placeholder: "token, such as ' Paris', or an id",
    "aria-label": "Watch a token: its text, with the space before it, or its id",
    spellcheck: "false",
    size: 26,
  });

  constructor(
    private readonly added: (text: string) => void,
    private readonly removed: (text: string) => void,
  ) {
    this.#input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.#input.value !== "") {
        this.added(this.#input.value);
      }
    });
    fill(this.element, h("span", {}, "Watch"), this.#input, this.#chips, this.#message);
  }

  show(watched: readonly string[]): void {
    const chip = (text: string, at: number): HTMLElement => {
      const mark = h("span", { class: "mark" });
      mark.style.backgroundColor = curveColor(at);
      const title = `Stop watching ${text}`;
      return h(
        "button",
        { class: "chip", title, "aria-label": title, onclick: () => this.removed(text) },
        mark,
        text,
        " ✕",
      );
    };
    fill(this.#chips, ...watched.map(chip));
  }

  /** Is watched now. What has been typed meanwhile, and said of it, stays. */
  accepted(text: string): void {
    if (this.#input.value === text) {
      this.complain("");
      this.#input.value = "";
    }
  }

  complain(message: string): void {
    this.#message.textContent = message;
  }
}
