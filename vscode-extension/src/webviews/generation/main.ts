// The text as tokens: coloured by how unsure their choice was, with what else they could have been.

import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { tableOnDemand } from "../shared/on-demand";
import { Reading } from "../shared/reading";
import { choiceOf, highestEntropy, neighbour } from "../shared/text";
import { Choices } from "./choices";
import { drawing } from "./drawing";
import { legend } from "./legend";
import { shownTokens, spoken, textTable } from "./rows";
import { TokenList } from "./tokens";
import "./style.css";

const view = frame("Generation");
const alternatives = new Choices();
const reading = new Reading({ view, use: "Colours", paint, read: () => readers.update(), left });
const list = new TokenList({ look, choose, speak });
const readers = tableOnDemand(
  () => textTable(reading.text),
  () => reading.text.where?.step ?? 0,
);
const previous = h(
  "button",
  { onclick: () => go(-1), title: "The same place of the step before (P)" },
  "◂ Previous token",
);
const next = h("button", { onclick: () => go(1), title: "The same place of the next step (N)" }, "Next token ▸");
const key = h("div", { class: "legend" });

fill(
  view.tools,
  previous,
  next,
  reading.sequences,
  reading.measures,
  exportButtons({ name: "generation", table: () => textTable(reading.text), drawing: () => drawing(list) }),
);
fill(view.content, key, reading.notice, list.element, readers.element);
document.body.append(alternatives.element);
document.addEventListener("keydown", pressed);
window.addEventListener("scroll", () => alternatives.hide(), { passive: true });

view.say("Start a model (F5) and stop it, at a breakpoint or with Pause: its text is shown here, token by token.");
reading.follow();

function left(): void {
  alternatives.forget();
  previous.disabled = true;
  next.disabled = true;
}

function paint(isFirst: boolean): void {
  const { text, measure } = reading;
  const { where } = text;
  if (where === undefined) {
    return;
  }
  const scale = highestEntropy(text.tokens);
  list.element.classList.toggle("entropy", measure === "entropy");
  list.show(shownTokens(text, measure, scale), where.promptLength);
  fill(key, ...legend(measure, scale));
  const length = `${where.promptLength} tokens of prompt, ${where.steps} chosen`;
  view.caption(where.path === "end" ? "At the end" : `Step ${where.step}`, ` · ${length}`);
  previous.disabled = neighbour(where, -1) === undefined;
  next.disabled = neighbour(where, 1) === undefined;
  if (isFirst) {
    list.reveal();
  }
}

function go(direction: 1 | -1): void {
  const { where } = reading.text;
  reading.go(where && neighbour(where, direction));
}

function choose(position: number): void {
  const { tokens, where } = reading.text;
  const step = tokens[position]?.step ?? (where && position >= where.promptLength ? where.step : undefined);
  reading.go(where && step !== undefined ? choiceOf(where, step) : undefined);
}

function look(position: number | undefined, element: HTMLElement | undefined): void {
  const { text, signal, threadId } = reading;
  if (position === undefined || !element || !text.where || !signal) {
    alternatives.hide();
  } else {
    alternatives.show({ token: text.tokens[position], where: text.where, threadId }, element, signal);
  }
}

function speak(position: number): string {
  const { tokens, where } = reading.text;
  return where ? spoken(tokens[position], where) : "";
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
