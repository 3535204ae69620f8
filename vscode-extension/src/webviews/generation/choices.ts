// Beside a token that is looked at: what else it could have been, and what it is made to be.

import type { Alternative, GeneratedToken, GenerationResponseBody } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { ask, Cancelled } from "../shared/host";
import { number } from "../shared/table";
import { percent } from "../shared/text";
import { whenOf } from "./rows";

/** The pointer has to rest that long, in milliseconds: every look runs a step again. */
const REST = 120;
/** It has that long to come over from the token. */
const GRACE = 250;
const TOP = 10;

export interface Looked {
  token: GeneratedToken | undefined;
  where: GenerationResponseBody;
  threadId: number;
}

/** Makes a token the one that a step chooses, by its number or text. */
export type Force = (step: number, token: number | string, threadId: number) => void;

export class Choices {
  readonly element = h("div", {
    class: "choices",
    role: "dialog",
    "aria-label": "What else it could have been",
    id: "choices",
    hidden: true,
    onpointerenter: () => window.clearTimeout(this.#leaving),
    onpointerleave: () => this.leave(),
    onfocusout: () => this.leave(),
    onkeydown: (event) => this.#pressed(event as KeyboardEvent),
  });
  #asking = new AbortController();
  #timer = 0;
  #leaving = 0;
  #known = new Map<string, GeneratedToken>();
  #beside: HTMLElement | undefined;
  /** The keys are to lead into it, once it is there. */
  #isWanted = false;

  constructor(private readonly force: Force) {}

  /** Forgets what was told at another stop. */
  forget(): void {
    this.#known.clear();
    this.hide();
  }

  hide(): void {
    this.#asking.abort();
    window.clearTimeout(this.#timer);
    window.clearTimeout(this.#leaving);
    this.#beside?.removeAttribute("aria-describedby");
    this.#beside = undefined;
    this.element.hidden = true;
    this.#isWanted = false;
  }

  /** Hides it, unless the pointer or the focus has gone into it. */
  leave(): void {
    window.clearTimeout(this.#leaving);
    this.#leaving = window.setTimeout(() => {
      if (!this.element.matches(":hover, :focus-within") && !this.#isWanted) {
        this.hide();
      }
    }, GRACE);
  }

  /** Leads the keys into it. */
  enter(): void {
    this.#isWanted = true;
    this.#controls[0]?.focus();
  }

  show(looked: Looked, beside: HTMLElement, signal: AbortSignal): void {
    if (beside === this.#beside) {
      window.clearTimeout(this.#leaving);
      return;
    }
    this.hide();
    this.#asking = new AbortController();
    signal.addEventListener("abort", () => this.hide(), { once: true });
    this.#beside = beside;
    this.#timer = window.setTimeout(() => void this.#open(looked, beside), REST);
  }

  get #controls(): HTMLElement[] {
    return [...this.element.querySelectorAll<HTMLElement>("button, input")];
  }

  #pressed(event: KeyboardEvent): void {
    const at = this.#controls.indexOf(event.target as HTMLElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      this.#controls[Math.max(0, Math.min(at + step, this.#controls.length - 1))]?.focus();
    } else if (event.key === "Escape") {
      const beside = this.#beside;
      this.hide();
      beside?.focus();
    }
    event.stopPropagation(); // letters are typed into its field
  }

  async #open(looked: Looked, beside: HTMLElement): Promise<void> {
    const { token, where, threadId } = looked;
    const asking = this.#asking;
    const hasChoices = token?.step !== undefined && whenOf(token, where) !== "future";
    const key = `${threadId}:${token?.position}`;
    const known = this.#known.get(key);
    const rest = hasChoices ? this.#body(looked, known) : [reason(looked)];
    this.#place(beside, ...heading({ ...looked, token: known ?? token }), ...rest, this.#field(looked));
    if (!hasChoices || known || !token) {
      return;
    }
    try {
      const answer = await ask(
        "llm/generation",
        { threadId, start: token.position, count: 1, top: TOP },
        asking.signal,
      );
      const told = answer.tokens[0];
      if (told && !asking.signal.aborted) {
        this.#known.set(key, told);
        this.#place(beside, ...heading({ ...looked, token: told }), ...this.#body(looked, told), this.#field(looked));
      }
    } catch (error) {
      if (!(error instanceof Cancelled) && !asking.signal.aborted) {
        this.#place(beside, ...heading(looked), h("p", {}, error instanceof Error ? error.message : String(error)));
      }
    }
  }

  /** What it could have been, with a button to make it that. */
  #body({ where, threadId }: Looked, token: GeneratedToken | undefined): HTMLElement[] {
    if (!token) {
      return [h("p", { class: "waiting" }, "The step runs again …")];
    }
    const all = token.alternatives ?? [];
    const isListed = all.some(({ id }) => id === token.id);
    const rows = isListed ? all : [...all, { id: token.id, text: token.text, probability: token.probability ?? 0 }];
    const highest = Math.max(...rows.map(({ probability }) => probability ?? 0), Number.MIN_VALUE);
    const { step } = token;
    const button = (row: Alternative): HTMLElement | undefined =>
      step === undefined || !where.hasSelection || row.id === token.id
        ? undefined
        : h(
            "button",
            {
              class: "quiet",
              title: `Force ${JSON.stringify(row.text)} in step ${step}`,
              "aria-label": `Force ${JSON.stringify(row.text)}`,
              onclick: () => this.force(step, row.id, threadId),
            },
            "force",
          );
    return [h("table", {}, h("tbody", {}, ...rows.map((row) => line(row, row.id === token.id, highest, button(row)))))];
  }

  /** For a token that is not listed. */
  #field({ token, where, threadId }: Looked): HTMLElement | undefined {
    const step = token === undefined ? where.step : token.step;
    if (step === undefined || !where.hasSelection || (where.path === "end" && token === undefined)) {
      return undefined;
    }
    const input = h("input", {
      placeholder: "another token, such as ' Tokyo'",
      "aria-label": "Force another token, by its text or id",
      spellcheck: "false",
      onkeydown: (event) => {
        if ((event as KeyboardEvent).key === "Enter" && input.value !== "") {
          this.force(step, /^\d+$/.test(input.value) ? Number(input.value) : input.value, threadId);
        }
      },
    });
    return h("p", { class: "field" }, input);
  }

  /** Below the token, or above it where there is no room. */
  #place(beside: HTMLElement, ...content: (HTMLElement | undefined)[]): void {
    const isInside = this.element.contains(document.activeElement);
    fill(this.element, ...content);
    this.element.hidden = false;
    if (this.#isWanted || isInside) {
      this.#controls[0]?.focus();
    }
    beside.setAttribute("aria-describedby", this.element.id);
    const box = beside.getClientRects()[0] ?? beside.getBoundingClientRect();
    const { width, height } = this.element.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left, window.innerWidth - width - 8));
    const below = box.bottom + 6;
    const fits = below + height <= window.innerHeight;
    this.element.style.left = `${left}px`;
    this.element.style.top = `${fits ? below : Math.max(8, box.top - height - 6)}px`;
  }
}

function heading({ token, where }: Looked): HTMLElement[] {
  if (token === undefined) {
    return [h("h2", {}, `step ${where.step}`)];
  }
  const facts = [
    token.step === undefined ? undefined : `step ${token.step}`,
    `position ${token.position}`,
    `id ${token.id}`,
    token.padding ? "padding" : token.special ? "special" : undefined,
    token.entropy === undefined ? undefined : `entropy ${number(token.entropy)} nats`,
  ];
  return [
    h("h2", {}, h("span", { class: "token" }, JSON.stringify(token.text))),
    h("p", { class: "facts" }, facts.filter((fact) => fact !== undefined).join(" · ")),
  ];
}

function reason({ token }: Looked): HTMLElement {
  if (token === undefined) {
    return h("p", {}, "The token of this step is being chosen.");
  }
  const why =
    token.step === undefined
      ? "Part of the prompt: nothing was chosen."
      : `${percent(token.probability ?? 0)} when it was chosen. Its alternatives are known once the run is there again.`;
  return h("p", {}, why);
}

function line(
  { text, probability = 0 }: Alternative,
  isChosen: boolean,
  highest: number,
  button: HTMLElement | undefined,
): HTMLElement {
  const bar = h("span", { class: "bar" });
  bar.style.width = `${(100 * probability) / highest}%`;
  return h(
    "tr",
    { class: isChosen ? "chosen" : undefined },
    h("th", { scope: "row", class: "token" }, JSON.stringify(text)),
    h("td", { class: "bars", "aria-hidden": "true" }, bar),
    h("td", {}, percent(probability), isChosen ? h("span", { class: "for-readers" }, " chosen") : undefined),
    h("td", {}, button),
  );
}
