// The text as tokens: coloured by how unsure their choice was, with what else they could have been.

import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { ask, Cancelled, follow, choices as kept, type Stop, travel } from "../shared/host";
import { tableOnDemand } from "../shared/on-demand";
import { Sequences } from "../shared/sequences";
import { type AskText, choiceOf, highestEntropy, type Measure, neighbour, Text } from "../shared/text";
import { Traveller } from "../shared/travelling";
import { Choices } from "./choices";
import { drawing } from "./drawing";
import { legend } from "./legend";
import { shownTokens, spoken, textTable } from "./rows";
import { TokenList } from "./tokens";
import "./style.css";

const view = frame("Generation");
const notice = h("p", { class: "notice", role: "alert" });
const alternatives = new Choices();
const sequences = new Sequences(() => void restart());
const traveller = new Traveller(travel, (message) => fill(notice, message));
const list = new TokenList({ look, choose, speak });
const readers = tableOnDemand(
  () => textTable(text),
  () => text.where?.step ?? 0,
);

let measure: Measure = kept.get<{ measure: Measure }>({ measure: "probability" }).measure;
let text = new Text();
let stop: Stop | undefined;
let scale = 1;

const previous = h(
  "button",
  { onclick: () => go(-1), title: "The same place of the step before (P)" },
  "◂ Previous token",
);
const next = h("button", { onclick: () => go(1), title: "The same place of the next step (N)" }, "Next token ▸");
const measures = h(
  "select",
  { "aria-label": "Colours", onchange: () => void chooseMeasure(measures.value as Measure) },
  h("option", { value: "probability", selected: measure === "probability" }, "Colours: probability"),
  h("option", { value: "entropy", selected: measure === "entropy" }, "Colours: entropy"),
);
const key = h("div", { class: "legend" });

fill(
  view.tools,
  previous,
  next,
  sequences.element,
  measures,
  exportButtons({ name: "generation", table: () => textTable(text), drawing: () => drawing(list) }),
);
fill(view.content, key, notice, list.element, readers.element);
document.body.append(alternatives.element);
document.addEventListener("keydown", pressed);
window.addEventListener("scroll", () => alternatives.hide(), { passive: true });

view.say("Start a model (F5) and stop it, at a breakpoint or with Pause: its text is shown here, token by token.");
follow({ stopped, running, ended }, (message) => view.say(message, "error"));

async function stopped(at: Stop): Promise<void> {
  if (at.session !== stop?.session) {
    text = new Text();
  }
  stop = at;
  fill(notice);
  alternatives.forget();
  await sequences.stopped(at);
  traveller.stopped();
  await read(at);
}

function running(): void {
  traveller.running();
  alternatives.forget();
  view.outdated(true);
}

function ended(): void {
  traveller.ended();
  alternatives.forget();
  view.outdated(true);
  previous.disabled = true;
  next.disabled = true;
}

/** Settled when what is near the present place is painted; the rest comes after it. */
function read(at: Stop): Promise<void> {
  const { threadId } = sequences;
  const asked: AskText = (args, signal) => ask("llm/generation", args, signal);
  return new Promise((painted, failed) => {
    const first = (): void => {
      view.clear();
      view.outdated(false);
      paint();
      list.reveal();
      painted();
    };
    const whole = async (): Promise<void> => {
      await text.read(asked, threadId, at.signal, first, paint);
      if (measure === "entropy") {
        await text.readEntropies(asked, threadId, at.signal, paint);
      }
      readers.update();
    };
    whole().catch((error) => {
      failed(error);
      if (!(error instanceof Cancelled) && !at.signal.aborted) {
        fill(notice, error instanceof Error ? error.message : String(error));
      }
    });
  });
}

async function restart(): Promise<void> {
  text = new Text();
  if (stop && !stop.signal.aborted) {
    await read(stop).catch(() => undefined); // it has said so itself
  }
}

async function chooseMeasure(chosen: Measure): Promise<void> {
  measure = chosen;
  kept.set({ measure });
  paint();
  if (stop && !stop.signal.aborted) {
    await read(stop).catch(() => undefined);
  }
}

function paint(): void {
  const { where } = text;
  if (where === undefined) {
    return;
  }
  scale = highestEntropy(text.tokens);
  list.element.classList.toggle("entropy", measure === "entropy");
  list.show(shownTokens(text, measure, scale), where.promptLength);
  fill(key, ...legend(measure, scale));
  const length = `${where.promptLength} tokens of prompt, ${where.steps} chosen`;
  view.caption(where.path === "end" ? "At the end" : `Step ${where.step}`, ` · ${length}`);
  previous.disabled = neighbour(where, -1) === undefined;
  next.disabled = neighbour(where, 1) === undefined;
}

function go(direction: 1 | -1): void {
  const place = text.where && neighbour(text.where, direction);
  if (place) {
    fill(notice);
    traveller.to(place);
  }
}

function choose(position: number): void {
  const { where } = text;
  const step = text.tokens[position]?.step ?? (where && position >= where.promptLength ? where.step : undefined);
  if (where && step !== undefined) {
    fill(notice);
    traveller.to(choiceOf(where, step));
  }
}

function look(position: number | undefined, element: HTMLElement | undefined): void {
  const { where } = text;
  if (position === undefined || !element || !where || !stop || stop.signal.aborted) {
    alternatives.hide();
  } else {
    alternatives.show({ token: text.tokens[position], where, threadId: sequences.threadId }, element, stop.signal);
  }
}

function speak(position: number): string {
  return text.where ? spoken(text.tokens[position], text.where) : "";
}

function pressed(event: KeyboardEvent): void {
  const isElsewhere = (event.target as Element).closest("select, input") !== null;
  if (isElsewhere || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  if (event.key === "n" || event.key === "p") {
    go(event.key === "n" ? 1 : -1);
  } else if (event.key === "Escape") {
    alternatives.hide();
  }
}
