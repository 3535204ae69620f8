// Where in the run the model stands: a chart over all steps, and below it the places inside the present one.

import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { onAnomaly } from "../shared/host";
import { tableOnDemand } from "../shared/on-demand";
import { Reading } from "../shared/reading";
import { choiceOf, highestEntropy } from "../shared/text";
import { onThemeChange } from "../shared/theme";
import { Chart } from "./chart";
import { length, placeInWords, presentSlot, series, slots, stepTable, stepText } from "./rows";
import { Slider } from "./slider";
import { Strip } from "./strip";
import { Wedge } from "./wedge";
import "./style.css";

const view = frame("Timeline");
const readout = h("p", { class: "readout", "aria-hidden": "true" });
const area = h("div", { class: "steps", "aria-label": "Step of the run" });
const chart = new Chart(area);
const strip = new Strip();
const wedge = new Wedge();
const reading = new Reading({ view, use: "Bars", paint, read: () => readers.update() });
const readers = tableOnDemand(
  () => stepTable(reading.text),
  () => reading.text.where?.step ?? 0,
);

const steps = new Slider({
  element: area,
  text: (step) => stepText(reading.text, step),
  at: (x) => chart.stepAt(x),
  wish: (step) => {
    chart.wish(step);
    say(step === undefined ? undefined : stepText(reading.text, step));
  },
  choose: (step) => reading.go(reading.text.where && choiceOf(reading.text.where, step)),
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
    const { where } = reading.text;
    const chosen = where && slots(where)[slot];
    reading.go(chosen && { step: where.step, ...chosen.place });
  },
});

fill(
  view.tools,
  reading.sequences,
  reading.measures,
  exportButtons({ name: "timeline", table: () => stepTable(reading.text), canvas: () => chart.canvas }),
);
fill(view.content, area, wedge.element, strip.element, readout, legend(), reading.notice, readers.element);
onThemeChange(() => chart.restyle());
onAnomaly(() => chart.redraw());
new ResizeObserver(() => drawWedge()).observe(area);

view.say("Start a model (F5) and stop it, at a breakpoint or with Pause: its steps are shown here, to travel to.");
reading.follow();

function paint(): void {
  const { text, measure } = reading;
  const { where } = text;
  if (where === undefined) {
    return;
  }
  const all = slots(where);
  const present = presentSlot(where);
  chart.show({ rows: series(text, measure), measure, scale: highestEntropy(text.tokens), present: where.step });
  strip.show(all, present);
  steps.show(where.step, length(where) - 1);
  places.show(present.slot, all.length - 1);
  view.caption(`Step ${where.step}, ${placeInWords(where)} · ${where.steps} tokens chosen`);
  say(undefined);
  drawWedge();
}

function legend(): HTMLElement {
  const mark = (kind: string, meaning: string): HTMLElement =>
    h("span", {}, h("span", { class: `mark ${kind}`, "aria-hidden": "true" }), meaning);
  return h(
    "p",
    { class: "legend" },
    mark("past", "what has run"),
    mark("present", "the present step; inside it its layers, then the choice of its token"),
    mark("future", "still to come again"),
  );
}

function drawWedge(): void {
  const { where } = reading.text;
  if (where) {
    wedge.show(...chart.extent(where.step), area.clientWidth);
  }
}

/** Below the scales: what is pointed at, else where the run stands. */
function say(wished: string | undefined): void {
  const { text } = reading;
  const standing = text.where ? stepText(text, text.where.step) : "";
  fill(readout, wished === undefined ? standing : `Travel to ${wished}`);
}

function nameOfSlot(slot: number): string {
  const { where } = reading.text;
  return where ? (slots(where)[slot]?.name ?? "") : "";
}
