// The other ways that the run went, as a tree: to go on in one, to call it otherwise, to forget it, to compare it.

import type { Branch, BranchesResponseBody } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { percent, visible } from "../shared/text";
import { beginning, extent, type Node, treeOf } from "./tree";

export interface Wishes {
  switchTo(branch: Branch): void;
  name(branch: Branch, name: string): void;
  remove(branch: Branch): void;
  compare(branch: Branch, present: Branch): void;
}

export class BranchTree {
  readonly element = h("section", { class: "branches", "aria-label": "Branches", hidden: true });

  constructor(private readonly wishes: Wishes) {}

  /** Hidden while there is one way only. */
  show({ branches }: BranchesResponseBody): void {
    const present = branches.find(({ isPresent }) => isPresent);
    this.element.hidden = branches.length < 2;
    fill(
      this.element,
      h("h2", {}, "Branches"),
      h("ul", { class: "tree" }, ...treeOf(branches).map((node) => this.#item(node, present))),
    );
  }

  #item({ branch, children, edits }: Node, present: Branch | undefined): HTMLElement {
    const { shown, isCut } = beginning(branch.tokens);
    const tokens = shown.map(({ text, probability }) => {
      const span = h(
        "span",
        {
          class: "piece",
          title: `${JSON.stringify(text)}${probability === undefined ? "" : `, ${percent(probability)}`}`,
        },
        visible(text),
      );
      span.style.setProperty("--unsure", (1 - (probability ?? 1)).toFixed(3));
      return span;
    });
    const name = h("span", { class: "name" }, branch.name);
    const below = children.map((node) => this.#item(node, present));
    return h(
      "li",
      { "aria-current": branch.isPresent ? "true" : undefined, "data-branch": branch.id },
      h(
        "div",
        { class: "head" },
        name,
        h("span", { class: "facts" }, branch.isPresent ? `present · ${extent(branch)}` : extent(branch)),
      ),
      h("div", { class: "pieces" }, ...tokens, isCut ? "…" : undefined),
      ...edits.map((text) => h("div", { class: "edit" }, text)),
      this.#buttons(branch, name, present),
      below.length > 0 ? h("ul", { class: "tree" }, ...below) : undefined,
    );
  }

  #buttons(branch: Branch, name: HTMLElement, present: Branch | undefined): HTMLElement {
    const button = (text: string, onclick: () => void): HTMLElement =>
      h("button", { class: "quiet", "aria-label": `${text} ${branch.name}`, onclick }, text);
    const others = branch.isPresent
      ? []
      : [
          button("Switch to", () => this.wishes.switchTo(branch)),
          button("Compare", () => present && this.wishes.compare(branch, present)),
        ];
    const remove = branch.isPresent ? [] : [this.#removal(branch)];
    return h(
      "div",
      { class: "buttons" },
      ...others,
      button("Rename", () => this.#rename(branch, name)),
      ...remove,
    );
  }

  /** Asks once more. */
  #removal(branch: Branch): HTMLElement {
    let isAsked = false;
    const button = h(
      "button",
      {
        class: "quiet",
        "aria-label": `Delete ${branch.name}`,
        onclick: () => {
          if (isAsked) {
            this.wishes.remove(branch);
          }
          isAsked = true;
          button.textContent = "Delete for good?";
        },
        onblur: () => {
          isAsked = false;
          button.textContent = "Delete";
        },
      },
      "Delete",
    );
    return button;
  }

  #rename(branch: Branch, name: HTMLElement): void {
    const input = h("input", {
      value: branch.name,
      "aria-label": `Name of ${branch.name}`,
      onkeydown: (event) => {
        const { key } = event as KeyboardEvent;
        if (key === "Enter" && input.value.trim() !== "") {
          this.wishes.name(branch, input.value);
        } else if (key === "Escape") {
          input.replaceWith(name);
        }
        event.stopPropagation(); // letters are no commands here
      },
    });
    name.replaceWith(input);
    input.select();
  }
}
