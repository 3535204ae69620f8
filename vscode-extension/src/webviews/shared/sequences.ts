// Which sequence of a batch a page shows: the focused one, until another is chosen.

import { fill, h } from "./dom";
import { ask, type Stop } from "./host";
import { sequencesOf } from "./threads";

export class Sequences {
  /** Empty while there is only one. */
  readonly element = h("span", {});
  threadId = 1;
  /** How many there are. */
  count = 1;
  #focused: number | undefined;

  constructor(private readonly changed: () => void) {}

  async stopped(stop: Stop): Promise<void> {
    const { threads: all } = await ask("threads", undefined, stop.signal);
    const threads = sequencesOf(all, stop.threadId);
    this.count = Math.max(1, threads.length);
    if (stop.threadId !== this.#focused || !threads.some(({ id }) => id === this.threadId)) {
      this.threadId = stop.threadId;
      this.#focused = stop.threadId;
    }
    if (threads.length < 2) {
      fill(this.element);
      return;
    }
    const options = threads.map(({ id, name }) => h("option", { value: id, selected: id === this.threadId }, name));
    const select = h(
      "select",
      { "aria-label": "Sequence", onchange: () => this.#choose(Number(select.value)) },
      ...options,
    );
    if (!this.element.contains(document.activeElement)) {
      fill(this.element, select);
    }
  }

  #choose(threadId: number): void {
    this.threadId = threadId;
    this.changed();
  }
}
