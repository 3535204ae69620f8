// What the panels on a text share: they read it at every stop, of a sequence and with a measure that can be chosen, and
// travel in it.

import { fill, h } from "./dom";
import type { Frame } from "./frame";
import { ask, Cancelled, choices, follow, type Stop, travel } from "./host";
import { Sequences } from "./sequences";
import { type AskText, type Measure, Text } from "./text";
import { type Place, Traveller } from "./travelling";

export interface Reader {
  view: Frame;
  /** What the measure is for, such as "Colours". */
  use: string;
  /** Called whenever more is known; `isFirst` at the first time at a stop. */
  paint(isFirst: boolean): void;
  /** All is known. */
  read?(): void;
  /** The run stands elsewhere, or nowhere: what was looked at is over. */
  left?(): void;
}

export class Reading {
  text = new Text();
  /** Errors of travels, above the content. */
  readonly notice = h("p", { class: "notice", role: "alert" });
  readonly measures: HTMLSelectElement;
  measure: Measure;
  #stop: Stop | undefined;
  readonly #sequences = new Sequences(() => void this.#otherSequence());
  readonly #traveller = new Traveller(travel, (message) => fill(this.notice, message));

  constructor(private readonly reader: Reader) {
    this.measure = choices.get<{ measure: Measure }>({ measure: "probability" }).measure;
    const option = (measure: Measure): HTMLElement =>
      h("option", { value: measure, selected: measure === this.measure }, `${reader.use}: ${measure}`);
    const chosen = (): void => void this.#otherMeasure(this.measures.value as Measure);
    const attributes = { "aria-label": reader.use, onchange: chosen };
    this.measures = h("select", attributes, option("probability"), option("entropy"));
  }

  get sequences(): HTMLElement {
    return this.#sequences.element;
  }

  get threadId(): number {
    return this.#sequences.threadId;
  }

  /** Whether there are other sequences too. */
  get isBatch(): boolean {
    return this.#sequences.count > 1;
  }

  /** Aborted when the run goes on; undefined while it does not stand. */
  get signal(): AbortSignal | undefined {
    return this.#stop?.signal.aborted ? undefined : this.#stop?.signal;
  }

  follow(): void {
    const { view } = this.reader;
    const left = (): void => {
      this.reader.left?.();
      view.outdated(true);
    };
    const running = (): void => {
      this.#traveller.running();
      left();
    };
    const ended = (): void => {
      this.#traveller.ended();
      left();
    };
    follow({ stopped: (stop) => this.#stopped(stop), running, ended }, view.say);
  }

  /** Travels, if there is a place to travel to. */
  go(place: Place | undefined): void {
    if (place) {
      fill(this.notice);
      this.#traveller.to(place);
    }
  }

  async #stopped(stop: Stop): Promise<void> {
    if (stop.session !== this.#stop?.session) {
      this.text = new Text();
    }
    this.#stop = stop;
    this.reader.left?.();
    fill(this.notice);
    await this.#sequences.stopped(stop);
    this.#traveller.stopped();
    await this.#read(stop);
  }

  /** Settled when what is near the present place is painted; the rest comes after it. */
  #read({ signal }: Stop): Promise<void> {
    const { reader, text, threadId } = this;
    const asked: AskText = (args, signal) => ask("llm/generation", args, signal);
    return new Promise((painted, failed) => {
      const first = (): void => {
        reader.view.clear();
        reader.view.outdated(false);
        reader.paint(true);
        painted();
      };
      const more = (): void => reader.paint(false);
      const whole = async (): Promise<void> => {
        await text.read(asked, threadId, signal, first, more);
        if (this.measure === "entropy") {
          await text.readEntropies(asked, threadId, signal, more);
        }
        reader.read?.();
      };
      whole().catch((error) => {
        failed(error);
        if (!(error instanceof Cancelled) && !signal.aborted) {
          fill(this.notice, error instanceof Error ? error.message : String(error));
        }
      });
    });
  }

  async #otherSequence(): Promise<void> {
    this.text = new Text();
    await this.#again();
  }

  async #otherMeasure(measure: Measure): Promise<void> {
    this.measure = measure;
    choices.set({ measure });
    this.reader.paint(false);
    await this.#again();
  }

  async #again(): Promise<void> {
    if (this.#stop && this.signal) {
      await this.#read(this.#stop).catch(() => undefined); // the notice has said so
    }
  }
}
