// A sweep: the same change at every layer and position, one at a time, and what each does to the next token.

import type { SweepResponseBody } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { divergingScale, gradient, type Scale, weightScale } from "../shared/heatmap/colors";
import { HeatMap } from "../shared/heatmap/heatmap";
import type { Patch } from "../shared/heatmap/patch";
import { ask, Cancelled, change, choices, follow, type Stop } from "../shared/host";
import { tableElement } from "../shared/table";
import { onThemeChange } from "../shared/theme";
import {
  argumentsOf,
  editOf,
  ends,
  limitOf,
  MEASURES,
  type Measure,
  measured,
  patchOf,
  place,
  problemOf,
  said,
  sweepTable,
  type Wish,
} from "./rows";
import "./style.css";

const CHANGES: Record<Wish["change"], string> = {
  patch: "values of another prompt",
  mean: "the mean over positions",
  zero: "zeros",
};

interface Kept extends Wish {
  measure: Measure;
}

const kept: Kept = {
  ...{ change: "patch", source: "", target: "", foil: "", measure: "probability" },
  ...choices.get<Partial<Kept>>({}),
};
const view = frame("Sweep");
const changes = h(
  "select",
  {
    "aria-label": "What takes the place of values",
    onchange: () => choose({ change: changes.value as Wish["change"] }),
  },
  ...Object.entries(CHANGES).map(([value, text]) => h("option", { value, selected: value === kept.change }, text)),
);
const source = field("source", "The capital of Japan is", "Prompt to take values from", 34);
const target = field("target", "likeliest", "Target: the token whose rise is looked for", 12);
const foil = field("foil", "likeliest now", "Foil: the token that it is compared with", 12);
const run = h("button", { onclick: () => void sweep() }, "Sweep");
const cancel = h("button", { class: "quiet", hidden: true, onclick: () => work.abort() }, "Cancel");
const measures = h(
  "select",
  { "aria-label": "Colours", onchange: () => choose({ measure: measures.value as Measure }) },
  ...Object.entries(MEASURES).map(([value, text]) => h("option", { value, selected: value === kept.measure }, text)),
);
const notice = h("p", { class: "notice", role: "alert" });
const map = new HeatMap(
  "What the change does at every layer and position",
  { pick },
  "Arrows move and tell the numbers, Enter chooses a place, + and - zoom.",
);
const legend = h("p", { class: "legend", "aria-hidden": "true" });
const chosen = h("p", { class: "chosen", role: "status" });
const readers = h(
  "details",
  { ontoggle: () => write() },
  h("summary", {}, "As a table"),
  h("div", { class: "scrolled" }),
);
const sourceLabel = h("label", {}, "Prompt", source);
const result = h(
  "div",
  { hidden: true },
  h("div", { class: "bar" }, h("label", {}, "Colours", measures)),
  map.element,
  legend,
  chosen,
  readers,
);

fill(
  view.tools,
  exportButtons({
    name: "sweep",
    canvas: () => map.canvas,
    drawing: () => map.drawing,
    table: () => (shown ? sweepTable(shown.body, shown.patch, shown.measure) : { caption: "", columns: [], rows: [] }),
  }),
);
fill(
  view.content,
  h(
    "div",
    { class: "bar" },
    h("label", {}, "Put", changes),
    sourceLabel,
    h("label", {}, "Target", target),
    h("label", {}, "against", foil),
    run,
    cancel,
  ),
  notice,
  result,
);

interface Shown {
  body: SweepResponseBody;
  wish: Wish;
  patch: Patch;
  measure: Measure;
}

let stop: Stop | undefined;
let shown: Shown | undefined;
let work = new AbortController();
let sweeps = 0;

view.say("Start a model (F5) and stop it: then the same change is made at every layer and position, one at a time.");
follow({ stopped, running: left, ended: left }, view.say);
onThemeChange(() => paint());
choose({});

function field(key: "source" | "target" | "foil", placeholder: string, label: string, size: number): HTMLInputElement {
  const input = h("input", {
    value: kept[key],
    placeholder,
    size,
    title: label,
    "aria-label": label,
    spellcheck: "false",
    oninput: () => choose({ [key]: input.value }),
    onkeydown: (event) => {
      if ((event as KeyboardEvent).key === "Enter") {
        void sweep();
      }
    },
  });
  return input;
}

function choose(wish: Partial<Kept>): void {
  Object.assign(kept, wish);
  choices.set(kept);
  sourceLabel.hidden = kept.change !== "patch";
  if (wish.measure !== undefined) {
    paint();
  }
}

async function stopped(at: Stop): Promise<void> {
  stop = at;
  run.disabled = false;
  view.clear();
  if (shown === undefined) {
    const { step } = await ask("llm/generation", { threadId: at.threadId, count: 0 }, at.signal);
    view.caption(`Step ${step} · a forward for every layer and position`);
  }
}

function left(): void {
  run.disabled = true;
  result.classList.toggle("outdated", shown !== undefined);
}

async function sweep(): Promise<void> {
  const wish: Wish = { ...kept };
  const problem = problemOf(wish);
  notice.textContent = problem ?? "";
  if (problem || stop === undefined || stop.signal.aborted) {
    return;
  }
  work.abort();
  work = new AbortController();
  busy(true);
  try {
    const signal = AbortSignal.any([stop.signal, work.signal]);
    const body = await ask("llm/sweep", argumentsOf(wish, stop.frameId), signal);
    sweeps += 1;
    const [patch, measure] = [patchOf(body, "probability"), "probability" as const];
    if (patch) {
      shown = { body, wish, patch, measure };
      fill(chosen, "Choose a place to make its change part of the run.");
      paint();
    }
  } catch (error) {
    notice.textContent =
      error instanceof Cancelled ? "The sweep is cancelled." : error instanceof Error ? error.message : String(error);
  } finally {
    busy(false);
  }
}

function busy(is: boolean): void {
  run.disabled = is;
  cancel.hidden = !is;
  run.textContent = is ? "Sweeping …" : "Sweep";
}

function paint(): void {
  if (shown === undefined) {
    return;
  }
  const { body } = shown;
  const found = patchOf(body, kept.measure);
  const measure = found ? kept.measure : "probability";
  const patch = found ?? shown.patch;
  shown = { ...shown, patch, measure };
  notice.textContent = found ? "" : "Only a patch from another prompt recovers a share: this is the probability.";
  result.hidden = false;
  result.classList.remove("outdated");
  view.caption(ends(body));
  const scale = scaleOf(patch, measure);
  map.show({
    key: `${sweeps}`,
    version: `${sweeps} ${measure}`,
    patch,
    scale,
    hides: () => false,
    chosen: undefined,
    say: (row, column) => said(body, patch, measure, row, column),
  });
  const ramp = h("span", { class: "ramp" });
  const limit = limitOf(patch, measure);
  const least = isSigned(measure) ? -limit : 0;
  ramp.style.backgroundImage = gradient(scale, least, limit);
  fill(legend, measured(least, measure), ramp, measured(limit, measure), ` ${MEASURES[measure]}`);
  write();
}

function isSigned(measure: Measure): boolean {
  return measure === "difference" || measure === "recovered";
}

function scaleOf(patch: Patch, measure: Measure): Scale {
  const limit = limitOf(patch, measure);
  if (isSigned(measure)) {
    return divergingScale(limit);
  }
  const { colors, index } = weightScale();
  return { colors, index: (value) => index(value / limit) };
}

/** Offers to make the change of a place part of the run. */
function pick(row: number, column: number): void {
  const edit = shown && editOf(shown.body, shown.wish, row, column);
  if (shown && edit) {
    const { body, patch, measure } = shown;
    fill(
      chosen,
      `${said(body, patch, measure, row, column)} `,
      h(
        "button",
        { "aria-label": `Make this edit ${place(body, row, column)}`, onclick: () => void make(edit) },
        "Make this edit",
      ),
    );
  }
}

async function make(edit: NonNullable<ReturnType<typeof editOf>>): Promise<void> {
  try {
    await change("llm/edit", { edits: [edit] });
    fill(chosen, "It is made, and in the list of edits of the debug view.");
  } catch (error) {
    notice.textContent = error instanceof Error ? error.message : String(error);
  }
}

function write(): void {
  const body = readers.querySelector("div");
  if (body) {
    fill(body, readers.open && shown ? tableElement(sweepTable(shown.body, shown.patch, shown.measure)) : undefined);
  }
}
