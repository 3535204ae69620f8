// A tensor: two of its axes as a map of colours, and its numbers.

import type { TensorResponseBody } from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { cssOf, divergingScale, gradient } from "../shared/heatmap/colors";
import { HeatMap } from "../shared/heatmap/heatmap";
import { type Patch, type Span, valueAt } from "../shared/heatmap/patch";
import { ask, Cancelled, choices, follow, type Stop } from "../shared/host";
import { tableElement } from "../shared/table";
import { onThemeChange } from "../shared/theme";
import { Controls } from "./controls";
import { Numbers } from "./numbers";
import { type Choice, choiceOf, fitted, limitOf, pageTable, patchOf, said, slicesOf, spoken } from "./page";
import { again, here, type Named, type Source, sourceOf } from "./source";
import "./style.css";

interface Kept {
  source?: Source;
  choice?: Choice;
  range: "all" | "most";
  whole: boolean;
}

const EMPTY = "Choose “View Tensor” in the context menu of a variable, or type an expression such as hidden_states.";
const TABLE = { start: 200, end: 40 };

const kept: Kept = { range: "most", whole: false, ...choices.get<Partial<Kept>>({}) };
const view = frame("Tensor");
const controls = new Controls((choice) => choose({ choice }));
const numbers = new Numbers(jump);
const map = new HeatMap(
  "Numbers as colours",
  { pick: () => undefined, coarse: (rows, columns) => void settle(finer(rows, columns)) },
  "Arrows move and tell the numbers, + and - zoom, 0 shows all.",
);
const notice = h("p", { class: "notice", role: "alert" });
const legend = h("p", { class: "legend", "aria-hidden": "true" });
const expression = h("input", {
  placeholder: "expression, such as hidden_states[0]",
  "aria-label": "Expression of a tensor",
  spellcheck: "false",
  size: 30,
  onkeydown: (event) => {
    if ((event as KeyboardEvent).key === "Enter" && expression.value.trim() !== "") {
      chosen({ expression: expression.value.trim() });
    }
  },
});
const ranges = h(
  "select",
  { "aria-label": "Colours", onchange: () => choose({ range: ranges.value as Kept["range"] }) },
  h("option", { value: "most", selected: kept.range === "most" }, "1 to 99 %"),
  h("option", { value: "all", selected: kept.range === "all" }, "all numbers"),
);
const whole = h(
  "select",
  { "aria-label": "Statistics", onchange: () => choose({ whole: whole.value === "whole" }) },
  h("option", { value: "page", selected: !kept.whole }, "of this slice"),
  h("option", { value: "whole", selected: kept.whole }, "of the whole tensor"),
);
const readers = h(
  "details",
  { ontoggle: () => write() },
  h("summary", {}, "As a table"),
  h("div", { class: "scrolled" }),
);

fill(
  view.tools,
  expression,
  exportButtons({
    name: "tensor",
    canvas: () => map.canvas,
    drawing: () => map.drawing,
    table: () => pageTable(shown?.patch ?? NOTHING, ""),
  }),
);
fill(
  view.content,
  h("div", { class: "bar" }, controls.element, h("label", {}, "Colours", ranges), h("label", {}, "Statistics", whole)),
  map.element,
  legend,
  numbers.element,
  readers,
);
view.content.before(notice);

interface Shown {
  body: TensorResponseBody;
  patch: Patch;
  choice: Choice;
  source: Source;
}

const NOTHING: Patch = {
  rows: { start: 0, end: 0, block: 1, labels: [] },
  columns: { start: 0, end: 0, block: 1, labels: [] },
  values: new Float32Array(),
};

let stop: Stop | undefined;
let shown: Shown | undefined;
/** How the tensor is asked for at this stop. */
let named: Named | undefined;
/** Whether the source was chosen at this stop, so that its reference holds. */
let isFresh = false;
/** How often numbers have come. */
let loads = 0;
let work = new AbortController();

view.say(EMPTY);
follow({ stopped, running: () => view.outdated(true), ended: () => view.outdated(true), show: chosen }, complain);
onThemeChange(() => paint());

function complain(message: string): void {
  if (shown === undefined) {
    view.say(message, "error");
  } else {
    notice.textContent = message;
    view.outdated(true);
  }
}

/** The person has chosen something to be shown. */
function chosen(what: unknown): void {
  const source = sourceOf(what);
  if (source === undefined) {
    return;
  }
  if (source.name !== kept.source?.name) {
    delete kept.choice;
  }
  kept.source = source;
  isFresh = true;
  named = undefined;
  shown = undefined;
  expression.value = source.expression ?? "";
  view.caption(source.name);
  choices.set(kept);
  if (stop && !stop.signal.aborted) {
    void settle(load(stop));
  }
}

async function stopped(at: Stop): Promise<void> {
  const isOther = stop !== undefined;
  stop = at;
  isFresh &&= !isOther || named === undefined;
  named = undefined;
  if (kept.source === undefined) {
    view.say(EMPTY);
    return;
  }
  await load(at);
}

async function load(at: Stop): Promise<void> {
  const { source } = kept;
  if (source === undefined) {
    return;
  }
  work.abort();
  work = new AbortController();
  const signal = AbortSignal.any([at.signal, work.signal]);
  named ??= await find(source, at, signal);
  isFresh = false;
  if (named === undefined) {
    complain(`${source.name} cannot be found at this stop: what is shown is of an earlier one.`);
    return;
  }
  const wishes = { statistics: true, distribution: true, ...(kept.whole && { whole: true }) };
  const asked = (choice: Choice | undefined): Promise<TensorResponseBody> =>
    ask("llm/tensor", { ...named, ...wishes, ...(choice && { slices: slicesOf(choice) }) }, signal);
  let body: TensorResponseBody;
  try {
    body = await asked(kept.choice);
  } catch (error) {
    if (error instanceof Cancelled) {
      throw error;
    }
    body = await asked(undefined).catch((other) => {
      throw other instanceof Cancelled ? other : new Error(`${source.name}: ${words(other)}${earlier()}`);
    });
    delete kept.choice;
  }
  const choice = (kept.choice && fitted(kept.choice, body.axes)) ?? choiceOf(body.axes);
  kept.choice = choice;
  choices.set(kept);
  loads += 1;
  shown = { body, choice, source, patch: patchOf(body, choice) };
  notice.textContent = "";
  view.clear();
  view.outdated(false);
  paint();
}

/** By its reference as long as that holds, else by its expression or name. */
async function find(source: Source, at: Stop, signal: AbortSignal): Promise<Named | undefined> {
  const first = isFresh ? here(source, at.frameId) : undefined;
  if (first?.variablesReference !== undefined) {
    const known = await ask("llm/tensor", { ...first, maxCells: 1 }, signal).catch((error) => {
      if (error instanceof Cancelled || !/not of this stop/.test(words(error))) {
        throw error;
      }
    });
    if (known !== undefined) {
      return first;
    }
  }
  return again(source, at.frameId, (command, args) => ask(command, args, signal));
}

function earlier(): string {
  return shown ? ". What is shown is of an earlier stop." : "";
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function finer(rows: Span, columns: Span): Promise<void> {
  const current = shown;
  if (current && named && stop && !stop.signal.aborted) {
    const slices = slicesOf(current.choice, { rows, columns });
    const body = await ask("llm/tensor", { ...named, slices }, AbortSignal.any([stop.signal, work.signal]));
    if (shown === current) {
      map.refine(patchOf(body, current.choice));
    }
  }
}

async function settle(done: Promise<void>): Promise<void> {
  try {
    await done;
  } catch (error) {
    if (!(error instanceof Cancelled)) {
      complain(words(error));
    }
  }
}

function choose(wish: Partial<Kept>): void {
  Object.assign(kept, wish);
  choices.set(kept);
  const isAsked = wish.choice !== undefined || wish.whole !== undefined;
  if (isAsked && stop && !stop.signal.aborted) {
    void settle(load(stop));
  } else {
    paint();
  }
}

/** Shows where an outlier is: cuts the other axes there, and moves the cursor to it. */
function jump(index: readonly number[]): void {
  const { choice } = shown ?? {};
  if (choice === undefined || stop === undefined) {
    return;
  }
  const there = {
    ...choice,
    index: choice.index.map((each, at) => (at === choice.rows || at === choice.columns ? each : (index[at] ?? each))),
  };
  const point = (): void =>
    map.point(choice.rows === undefined ? 0 : (index[choice.rows] ?? 0), index[choice.columns] ?? 0);
  if (JSON.stringify(there) === JSON.stringify(choice)) {
    point();
  } else {
    kept.choice = there;
    void settle(load(stop).then(point));
  }
}

// --------------------------------------------------------------------------------------------------------- what is seen

function paint(): void {
  if (shown === undefined) {
    return;
  }
  const { body, patch, choice, source } = shown;
  const limit = limitOf(body, kept.range);
  const scale = divergingScale(limit);
  const { axes, shape, dtype, device } = body;
  view.caption(h("span", { class: "token" }, source.name), ` · ${dtype} [${shape.join(", ")}] on ${device}`);
  controls.show(axes, choice);
  map.show({
    key: JSON.stringify([source.name, choice, shape]),
    version: String(loads),
    patch,
    scale,
    hides: () => false,
    chosen: undefined,
    say: (row, column, finest) => {
      const value = valueAt(finest ?? patch, row, column);
      const block = finest ? finest.rows.block * finest.columns.block : 1;
      const down = choice.rows === undefined ? "" : spoken(axes[choice.rows], patch.rows, row);
      const across = spoken(axes[choice.columns], patch.columns, column);
      const many = block > 1 ? ` (of ${block} the farthest from 0)` : "";
      return `${[down, across].filter((each) => each !== "").join(" · ")}: ${said(value)}${many}`;
    },
  });
  paintLegend(limit);
  numbers.show(body, kept.whole ? "of the whole tensor" : "of this slice");
  write();
}

function paintLegend(limit: number): void {
  const scale = divergingScale(limit);
  const ramp = h("span", { class: "ramp" });
  ramp.style.backgroundImage = gradient(scale, -limit, limit);
  const mark = (value: number): HTMLElement => {
    const [red, green, blue] = scale.mark?.(value) ?? [0, 0, 0];
    const box = h("span", { class: "box" });
    box.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
    return box;
  };
  const { nan = 0, positiveInf = 0, negativeInf = 0, min, max } = shown?.body.statistics ?? {};
  const isCut = Math.max(Math.abs(min ?? 0), Math.abs(max ?? 0)) > limit;
  const zero = h("span", { class: "box" });
  zero.style.backgroundColor = cssOf(scale, 0);
  fill(
    legend,
    `${isCut ? "≤ " : ""}${said(-limit)}`,
    ramp,
    `${isCut ? "≥ " : ""}${said(limit)}`,
    zero,
    "0",
    ...(nan > 0 ? [mark(Number.NaN), "NaN"] : []),
    ...(positiveInf + negativeInf > 0 ? [mark(Number.POSITIVE_INFINITY), "+∞, −∞"] : []),
    shown?.body.tile.blocks
      ? `· a cell stands for ${shown.body.tile.blocks.join(" × ")} numbers: the one farthest from 0`
      : "",
  );
}

function write(): void {
  const body = readers.querySelector("div");
  if (body) {
    fill(body, readers.open && shown ? tableElement(pageTable(shown.patch, shown.source.name, TABLE)) : undefined);
  }
}
