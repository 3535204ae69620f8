// Where in the run the model stands: a chart over all steps, and below it the places inside the present one.

import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { ask, Cancelled, follow, choices as kept, type Stop, travel } from "../shared/host";
import { tableOnDemand } from "../shared/on-demand";
import { Sequences } from "../shared/sequences";
import { type AskText, highestEntropy, type Measure, Text } from "../shared/text";
import { onThemeChange } from "../shared/theme";
import { Traveller } from "../shared/travelling";
import { Chart } from "./chart";
import { length, placeInWords, presentSlot, series, slots, stepPlace, stepTable, stepText } from "./rows";
import { Slider } from "./slider";
import { Strip } from "./strip";
import { Wedge } from "./wedge";
import "./style.css";

const view = frame("Timeline");
const notice = h("p", { class: "notice", role: "alert" });
const readout = h("p", { class: "readout", "aria-hidden": "true" });
const area = h("div", { class: "steps", "aria-label": "Step of the run" });
const chart = new Chart(area);
const strip = new Strip();
const wedge = new Wedge();
const sequences = new Sequences(() => void restart());
const traveller = new Traveller(travel, (message) => fill(notice, message));
const readers = tableOnDemand(
  () => stepTable(text),
  () => text.where?.step ?? 0,
);

let measure: Measure = kept.get<{ measure: Measure }>({ measure: "probability" }).measure;
let text = new Text();
let stop: Stop | undefined;

const steps = new Slider({
  element: area,
  text: (step) => stepText(text, step),
  at: (x) => chart.stepAt(x),
  wish: (step) => {
    chart.wish(step);
    say(step === undefined ? undefined : stepText(text, step));
  },
  choose: (step) => go(text.where && stepPlace(text.where, step)),
});
const places = new Slider({
  element: strip.element,
  text: nameOfSlot,
  at: (x) => strip.slotAt(x),
  wish: (slot) => {
    strip.wish(slot);
    say(slot === undefined ? undefined : nameOfSlot(slot));
  },
  choose: (slot) => {
    const { where } = text;
    const chosen = where && slots(where)[slot];
    go(chosen && { step: where.step, ...chosen.place });
  },
});
const measures = h(
  "select",
  { "aria-label": "Height of the bars", onchange: () => void chooseMeasure(measures.value as Measure) },
  h("option", { value: "probability", selected: measure === "probability" }, "Bars: probability"),
  h("option", { value: "entropy", selected: measure === "entropy" }, "Bars: entropy"),
);

fill(
  view.tools,
  sequences.element,
  measures,
  exportButtons({ name: "timeline", table: () => stepTable(text), canvas: () => chart.canvas }),
);
fill(view.content, area, wedge.element, strip.element, readout, notice, readers.element);
onThemeChange(() => chart.restyle());
new ResizeObserver(() => drawWedge()).observe(area);

view.say("Start a model (F5) and stop it, at a breakpoint or with Pause: its steps are shown here, to travel to.");
follow({ stopped, running, ended }, (message) => view.say(message, "error"));

async function stopped(at: Stop): Promise<void> {
  if (at.session !== stop?.session) {
    text = new Text();
  }
  stop = at;
  fill(notice);
  await sequences.stopped(at);
  traveller.stopped();
  await read(at);
}

function running(): void {
  traveller.running();
  view.outdated(true);
}

function ended(): void {
  traveller.ended();
  view.outdated(true);
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
  await again();
}

async function chooseMeasure(chosen: Measure): Promise<void> {
  measure = chosen;
  kept.set({ measure });
  paint();
  await again();
}

async function again(): Promise<void> {
  if (stop && !stop.signal.aborted) {
    await read(stop).catch(() => undefined); // it has said so itself
  }
}

function paint(): void {
  const { where } = text;
  if (where === undefined) {
    return;
  }
  const all = slots(where);
  chart.show({ rows: series(text, measure), measure, scale: highestEntropy(text.tokens), present: where.step });
  strip.show(all, presentSlot(where));
  steps.show(where.step, length(where) - 1);
  places.show(presentSlot(where).slot, all.length - 1);
  view.caption(`Step ${where.step}, ${placeInWords(where)} · ${where.steps} tokens chosen`);
  say(undefined);
  drawWedge();
}

function drawWedge(): void {
  if (text.where) {
    wedge.show(...chart.extent(text.where.step), area.clientWidth);
  }
}

/** Below the scales: what is pointed at, else where the run stands. */
function say(wished: string | undefined): void {
  const { where } = text;
  fill(readout, wished === undefined ? (where ? stepText(text, where.step) : "") : `Travel to ${wished}`);
}

function nameOfSlot(slot: number): string {
  return text.where ? (slots(text.where)[slot]?.name ?? "") : "";
}

function go(place: Parameters<Traveller["to"]>[0] | undefined): void {
  if (place) {
    fill(notice);
    traveller.to(place);
  }
}
