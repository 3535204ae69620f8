// The text on the page: a list box of tokens that flows like text. What has not changed is not touched.

import { h } from "../shared/dom";
import type { Shown } from "./rows";

export interface Listening {
  /** The pointer or the focus has come to a token, or has left (nothing). */
  look(position: number | undefined, element: HTMLElement | undefined): void;
  /** A click or Enter. */
  choose(position: number): void;
  /** How a screen reader says it. */
  speak(position: number): string;
}

export class TokenList {
  readonly element: HTMLElement;
  readonly #prompt = h("div", { class: "run", role: "group", "aria-label": "Prompt" });
  readonly #generated = h("div", { class: "run", role: "group", "aria-label": "Generated" });
  #spans: HTMLElement[] = [];
  #shown: Shown[] = [];
  #promptLength = 0;
  #current = -1;

  constructor(private readonly listening: Listening) {
    this.element = h(
      "div",
      {
        class: "text",
        role: "listbox",
        "aria-label": "Text as tokens: arrows look, Enter travels to where a token is chosen, F forces another",
        "aria-orientation": "horizontal",
        onclick: (event) => this.#withPosition(event, (position) => listening.choose(position)),
        onpointerover: (event) => this.#withPosition(event, (position, span) => listening.look(position, span)),
        onpointerleave: () => listening.look(undefined, undefined),
        onfocusin: (event) => this.#withPosition(event, (position, span) => this.#focused(position, span)),
        onfocusout: () => listening.look(undefined, undefined),
        onkeydown: (event) => this.#pressed(event as KeyboardEvent),
      },
      h("div", { class: "side", "aria-hidden": "true" }, "prompt"),
      this.#prompt,
      h("div", { class: "side", "aria-hidden": "true" }, "generated"),
      this.#generated,
    );
  }

  /** Paints; `promptLength` positions are set apart. */
  show(shown: Shown[], promptLength: number): void {
    const kept = promptLength === this.#promptLength ? commonLength(shown, this.#shown) : 0;
    for (const span of this.#spans.splice(kept)) {
      span.remove();
    }
    const added: [HTMLElement[], HTMLElement[]] = [[], []];
    for (const [at, token] of shown.entries()) {
      if (at >= kept) {
        const span = h("span", { role: "option", tabindex: "-1" });
        this.#spans.push(span);
        added[token.position < promptLength ? 0 : 1].push(span);
      }
      const span = this.#spans[at];
      if (span && (at >= kept || !isSame(token, this.#shown[at]))) {
        paint(span, token);
      }
    }
    this.#prompt.append(...added[0]);
    this.#generated.append(...added[1]);
    this.#shown = shown;
    this.#promptLength = promptLength;
    this.#keepOneTabStop();
    const focused = this.#spans.indexOf(document.activeElement as HTMLElement);
    if (focused >= 0) {
      this.#name(shown[focused]?.position ?? 0, this.#spans[focused] as HTMLElement); // more is known of it now
    }
  }

  /** Scrolls to the present token, unless it is on the screen. */
  reveal(): void {
    const at = this.#shown.findIndex(({ when }) => when === "present");
    this.#spans[at]?.scrollIntoView({ block: "nearest" });
  }

  /** Every token as it stands on the page: for a drawing. */
  spans(): { span: HTMLElement; text: string }[] {
    return this.#spans.map((span, at) => ({ span, text: this.#shown[at]?.text ?? "" }));
  }

  #keepOneTabStop(): void {
    const found = this.#shown.findIndex(({ position }) => position === this.#current);
    const present = this.#shown.findIndex(({ when }) => when === "present");
    const stop = this.#spans[found >= 0 ? found : present >= 0 ? present : this.#spans.length - 1];
    for (const span of this.element.querySelectorAll('[tabindex="0"]')) {
      if (span !== stop) {
        span.setAttribute("tabindex", "-1");
      }
    }
    stop?.setAttribute("tabindex", "0");
  }

  #focused(position: number, span: HTMLElement): void {
    this.#current = position;
    this.#keepOneTabStop();
    this.#name(position, span);
    this.listening.look(position, span);
  }

  #name(position: number, span: HTMLElement): void {
    span.setAttribute("aria-label", this.listening.speak(position));
  }

  #pressed(event: KeyboardEvent): void {
    const at = this.#spans.indexOf(event.target as HTMLElement);
    const next = at < 0 || event.ctrlKey || event.altKey || event.metaKey ? undefined : this.#neighbour(event.key, at);
    if (next !== undefined) {
      event.preventDefault();
      this.#spans[next]?.focus();
    } else if (at >= 0 && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      this.listening.choose(this.#shown[at]?.position ?? 0);
    }
  }

  #neighbour(key: string, at: number): number | undefined {
    const last = this.#spans.length - 1;
    switch (key) {
      case "ArrowRight":
        return Math.min(at + 1, last);
      case "ArrowLeft":
        return Math.max(at - 1, 0);
      case "Home":
        return 0;
      case "End":
        return last;
      case "ArrowDown":
        return this.#onNextLine(at, 1);
      case "ArrowUp":
        return this.#onNextLine(at, -1);
      default:
        return undefined;
    }
  }

  /** The token of the next line that is nearest to the same column. */
  #onNextLine(at: number, direction: 1 | -1): number {
    const from = this.#spans[at]?.getClientRects()[0];
    let best = at;
    let distance = Number.POSITIVE_INFINITY;
    let line: number | undefined;
    for (let other = at + direction; from && this.#spans[other]; other += direction) {
      const box = this.#spans[other]?.getClientRects()[0];
      const isBeyond = box !== undefined && direction * (box.top - from.top) > from.height / 2;
      if (!box || !isBeyond) {
        continue;
      }
      line ??= box.top;
      if (Math.abs(box.top - line) > from.height / 2) {
        break;
      }
      if (Math.abs(box.left - from.left) < distance) {
        distance = Math.abs(box.left - from.left);
        best = other;
      }
    }
    return best;
  }

  #withPosition(event: Event, action: (position: number, span: HTMLElement) => void): void {
    const span = (event.target as Element).closest<HTMLElement>("[role=option]");
    const position = span?.dataset.position;
    if (span && position !== undefined) {
      action(Number(position), span);
    }
  }
}

/** How many tokens at the beginning stand where others stood. */
function commonLength(one: Shown[], other: Shown[]): number {
  const first = one.findIndex(({ position }, at) => position !== other[at]?.position);
  return first < 0 ? one.length : first;
}

function isSame(one: Shown, other: Shown | undefined): boolean {
  return (
    other !== undefined &&
    one.position === other.position &&
    one.text === other.text &&
    one.kind === other.kind &&
    one.when === other.when &&
    one.unsure === other.unsure
  );
}

function paint(span: HTMLElement, { position, text, kind, when, unsure }: Shown): void {
  span.dataset.position = String(position);
  span.className = `${kind} ${when}${unsure === undefined ? "" : " known"}${text.includes("\n") ? " breaking" : ""}`;
  span.setAttribute("aria-selected", String(when === "present"));
  if (span.textContent !== text) {
    span.textContent = text;
  }
  if (unsure === undefined) {
    span.style.removeProperty("--unsure");
  } else {
    span.style.setProperty("--unsure", unsure.toFixed(3));
  }
}
