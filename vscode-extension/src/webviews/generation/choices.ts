// Beside a token that is looked at: what else it could have been.

import type { Alternative, GeneratedToken, GenerationResponseBody } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { ask, Cancelled } from "../shared/host";
import { number } from "../shared/table";
import { percent } from "../shared/text";
import { whenOf } from "./rows";

/** The pointer has to rest that long, in milliseconds: every look runs a step again. */
const REST = 120;
const TOP = 10;

export interface Looked {
  token: GeneratedToken | undefined;
  where: GenerationResponseBody;
  threadId: number;
}

export class Choices {
  readonly element = h("div", { class: "choices", role: "tooltip", id: "choices", hidden: true });
  #asking = new AbortController();
  #timer = 0;
  #known = new Map<string, GeneratedToken>();
  #beside: HTMLElement | undefined;

  /** Forgets what was told at another stop. */
  forget(): void {
    this.#known.clear();
    this.hide();
  }

  hide(): void {
    this.#asking.abort();
    window.clearTimeout(this.#timer);
    this.#beside?.removeAttribute("aria-describedby");
    this.#beside = undefined;
    this.element.hidden = true;
  }

  show(looked: Looked, beside: HTMLElement, signal: AbortSignal): void {
    this.hide();
    this.#asking = new AbortController();
    signal.addEventListener("abort", () => this.hide(), { once: true });
    this.#beside = beside;
    this.#timer = window.setTimeout(() => void this.#open(looked, beside), REST);
  }

  async #open(looked: Looked, beside: HTMLElement): Promise<void> {
    const { token, where, threadId } = looked;
    const asking = this.#asking;
    const hasChoices = token?.step !== undefined && whenOf(token, where) !== "future";
    const key = `${threadId}:${token?.position}`;
    const known = this.#known.get(key);
    const rest = hasChoices ? body(known) : [reason(looked)];
    this.#place(beside, ...heading({ ...looked, token: known ?? token }), ...rest);
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
        this.#place(beside, ...heading({ ...looked, token: told }), ...body(told));
      }
    } catch (error) {
      if (!(error instanceof Cancelled) && !asking.signal.aborted) {
        this.#place(beside, ...heading(looked), h("p", {}, error instanceof Error ? error.message : String(error)));
      }
    }
  }

  /** Below the token, or above it where there is no room. */
  #place(beside: HTMLElement, ...content: HTMLElement[]): void {
    fill(this.element, ...content);
    this.element.hidden = false;
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

function body(token: GeneratedToken | undefined): HTMLElement[] {
  if (!token) {
    return [h("p", { class: "waiting" }, "The step runs again …")];
  }
  const all = token.alternatives ?? [];
  const isListed = all.some(({ id }) => id === token.id);
  const rows = isListed ? all : [...all, { id: token.id, text: token.text, probability: token.probability ?? 0 }];
  const highest = Math.max(...rows.map(({ probability }) => probability ?? 0), Number.MIN_VALUE);
  return [h("table", {}, h("tbody", {}, ...rows.map((row) => line(row, row.id === token.id, highest))))];
}

function line({ text, probability = 0 }: Alternative, isChosen: boolean, highest: number): HTMLElement {
  const bar = h("span", { class: "bar" });
  bar.style.width = `${(100 * probability) / highest}%`;
  return h(
    "tr",
    { class: isChosen ? "chosen" : undefined },
    h("th", { scope: "row", class: "token" }, JSON.stringify(text)),
    h("td", { class: "bars", "aria-hidden": "true" }, bar),
    h("td", {}, percent(probability), isChosen ? h("span", { class: "for-readers" }, " chosen") : undefined),
  );
}
