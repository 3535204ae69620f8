// The logit lens: what every layer would say next, at every position.
//
// The last positions are asked for first; more of them come when the table is scrolled, or the cursor leaves it.

import type {
  GeneratedToken,
  GenerationResponseBody,
  LensCandidate,
  LensLayer,
  LensResponseBody,
} from "../../protocol/messages";
import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import { frame } from "../shared/frame";
import { gradient, weightScale } from "../shared/heatmap/colors";
import { ask, Cancelled, choices, follow, type Stop, travel } from "../shared/host";
import { number } from "../shared/table";
import { isDark, onThemeChange } from "../shared/theme";
import { Curves } from "./curves";
import { Details } from "./details";
import { canvasOf, svgOf } from "./drawing";
import { Grid, type Shown, type Spot } from "./grid";
import {
  joined,
  type LensTable,
  lensTable,
  MEASURES,
  type Measure,
  percent,
  placeOf,
  rangeOf,
  stretch,
  wanted,
} from "./table";
import { Watching } from "./watching";
import "./style.css";

const PAGE = 24;
const MOST = 240;

interface Kept {
  watch: string[];
  measure: Measure;
  exact: boolean;
  /** Which of the watched tokens colours are of. */
  of: number;
}

const kept: Kept = { ...{ watch: [], measure: "probability", exact: false, of: 0 }, ...choices.get<Partial<Kept>>({}) };
const view = frame("Logit lens");
const details = new Details((token) => void watch(quoted(token)));
const curves = new Curves();
const watching = new Watching(
  (text) => void watch(text),
  (text) => void unwatch(text),
);
const grid = new Grid({ look, go, watch: watchTop, more: (direction) => void settle(more(direction)) });
const legend = h("p", { class: "legend" });
const earlier = h("button", { class: "quiet", onclick: () => void settle(more(-1)) }, "◂ Earlier positions");
const later = h("button", { class: "quiet", onclick: () => void settle(more(1)) }, "Later positions ▸");
const measures = h(
  "select",
  { "aria-label": "Colours", onchange: () => choose({ measure: measures.value as Measure }) },
  ...Object.entries(MEASURES).map(([value, text]) => h("option", { value, selected: value === kept.measure }, text)),
);
const ofs = h("select", { "aria-label": "Of which token", onchange: () => choose({ of: Number(ofs.value) }) });
const exact = h("input", { type: "checkbox", checked: kept.exact, onchange: () => void chooseExact() });

let stop: Stop | undefined;
let where: GenerationResponseBody | undefined;
let known: LensTable | undefined;
/** How many positions there are at this step. */
let length = 0;
let next = new Map<number, string>();
let cursor: { layer: number; position: number | undefined } | undefined;
let isBusy = false;
/** Where more was asked for while some was on its way. */
let wished: -1 | 1 | undefined;

fill(view.tools, exportButtons({ name: "lens", table: () => lensTable(known ?? EMPTY), canvas: picture, drawing }));
fill(
  view.content,
  h(
    "div",
    { class: "bar" },
    h("label", {}, "Colours", measures, ofs),
    watching.element,
    h(
      "label",
      { title: "One forward for every step instead of one over the whole text" },
      exact,
      "exact everywhere (slow)",
    ),
  ),
  h("div", { class: "pages" }, earlier, later),
  grid.element,
  legend,
  h("div", { class: "below" }, details.element, curves.element),
);

const EMPTY: LensTable = { layers: [], columns: [] };

view.say(
  "Start a model (F5) and stop it, at a breakpoint or with Pause: what every layer would say next is shown here.",
);
follow({ stopped, running: () => view.outdated(true), ended: () => view.outdated(true) }, view.say);
onThemeChange(() => paint());

async function stopped(at: Stop): Promise<void> {
  stop = at;
  const wasAtEnd = cursor === undefined || cursor.position === undefined || cursor.position >= length - 1;
  where = await ask("llm/generation", { threadId: at.threadId, count: 0 }, at.signal);
  length = Math.max(1, where.promptLength + where.step);
  const table = await first(at);
  length = (table.columns.at(-1)?.position ?? length - 1) + 1;
  if (wasAtEnd || (cursor?.position ?? 0) >= length) {
    cursor = undefined;
  }
  await show(table, at);
  view.clear();
  view.outdated(false);
  grid.revealLast();
}

/** The last positions. The step of another frame than the newest one may have fewer than were expected. */
async function first(at: Stop): Promise<LensTable> {
  try {
    return await read(stretch(length, PAGE), at.signal);
  } catch (error) {
    const [, last] = /there are 0 to (\d+)/.exec(error instanceof Error ? error.message : "") ?? [];
    if (last === undefined) {
      throw error;
    }
    length = Number(last) + 1;
    return read(stretch(length, PAGE), at.signal);
  }
}

function read(positions: number[], signal: AbortSignal): Promise<LensResponseBody> {
  return ask("llm/lens", { frameId: stop?.frameId ?? 0, positions, ...wishes() }, signal);
}

function wishes(): { top: number; exact?: boolean; watch?: (number | string)[] } {
  return {
    top: 5,
    ...(kept.exact && { exact: true }),
    ...(kept.watch.length > 0 && { watch: kept.watch.map(wanted) }),
  };
}

async function show(table: LensTable, at: Stop): Promise<void> {
  known = table;
  paint();
  const start = table.columns[0]?.position;
  if (start !== undefined) {
    const { tokens } = await ask(
      "llm/generation",
      { threadId: at.threadId, start: start + 1, count: table.columns.length },
      at.signal,
    );
    next = new Map([
      ...next,
      ...tokens.map((token: GeneratedToken): [number, string] => [token.position - 1, token.text]),
    ]);
    paint();
  }
}

async function more(direction: -1 | 1): Promise<void> {
  if (isBusy) {
    wished = direction; // a key that is pressed meanwhile is not lost
    return;
  }
  const [start, end] = [known?.columns[0]?.position, known?.columns.at(-1)?.position];
  if (!stop || stop.signal.aborted || known === undefined || start === undefined || end === undefined) {
    return;
  }
  const positions =
    direction < 0 ? stretch(start, PAGE) : stretch(Math.min(end + 1 + PAGE, length), PAGE).filter((each) => each > end);
  const [at, old] = [stop, known];
  if (positions.length === 0) {
    return;
  }
  isBusy = true;
  try {
    const before = grid.element.scrollWidth - grid.element.scrollLeft;
    const hadFocus = grid.element.contains(document.activeElement);
    const table = await read(positions, at.signal);
    if (hadFocus && cursor) {
      cursor = { ...cursor, position: direction < 0 ? positions.at(-1) : positions[0] };
    }
    const shown = show(joined(old, table, MOST), at);
    grid.element.scrollLeft = direction < 0 ? grid.element.scrollWidth - before : grid.element.scrollWidth;
    await shown;
  } finally {
    isBusy = false;
    const next = wished;
    wished = undefined;
    if (next !== undefined) {
      void settle(more(next));
    }
  }
}

/** The same columns again, with what is wished now. */
async function again(): Promise<void> {
  const positions = (known?.columns ?? []).map(({ position }) => position).filter((each) => each !== undefined);
  if (stop && !stop.signal.aborted) {
    view.outdated(true);
    await show(await read(positions, stop.signal), stop);
    view.outdated(false);
  }
}

async function settle(done: Promise<void>): Promise<void> {
  try {
    await done;
  } catch (error) {
    if (!(error instanceof Cancelled)) {
      watching.complain(error instanceof Error ? error.message : String(error));
    }
  }
}

// --------------------------------------------------------------------------------------------------- what a person does

async function watch(text: string): Promise<void> {
  watching.complain("");
  if (kept.watch.includes(text)) {
    watching.accepted(text);
    return;
  }
  choose({ watch: [...kept.watch, text] });
  try {
    await again();
    watching.accepted(text);
  } catch (error) {
    choose({ watch: kept.watch.filter((each) => each !== text) });
    view.outdated(false);
    if (!(error instanceof Cancelled)) {
      watching.complain(error instanceof Error ? error.message : String(error));
    }
  }
}

async function unwatch(text: string): Promise<void> {
  choose({ watch: kept.watch.filter((each) => each !== text) });
  await settle(again());
}

async function chooseExact(): Promise<void> {
  choose({ exact: exact.checked });
  await settle(again());
}

function choose(chosen: Partial<Kept>): void {
  Object.assign(kept, chosen);
  choices.set(kept);
  paint();
}

function quoted({ text }: LensCandidate): string {
  return JSON.stringify(text);
}

function watchTop({ layer, column }: Spot): void {
  const top = known?.columns[column]?.cells[layer]?.top[0];
  if (top) {
    void watch(quoted(top));
  }
}

function look(spot: Spot): void {
  const column = known?.columns[spot.column];
  const layer = known?.layers[spot.layer];
  if (known && column && layer) {
    cursor = { layer: spot.layer, position: column.position };
    details.show(layer, column, column.cells[spot.layer]);
    curves.show(known, spot.column, isDark());
  }
}

function go({ layer, column }: Spot): void {
  const to = known?.layers[layer];
  if (known && to && stop && !stop.signal.aborted) {
    travel(placeOf(known.layers, to, known.columns[column]?.position, where)).catch((error) =>
      watching.complain(error instanceof Error ? error.message : String(error)),
    );
  }
}

// --------------------------------------------------------------------------------------------------------- what is seen

function paint(): void {
  watching.show(kept.watch);
  const isOfToken = kept.measure === "watched" || kept.measure === "rank";
  ofs.hidden = !isOfToken || kept.watch.length < 2;
  fill(ofs, ...kept.watch.map((text, at) => h("option", { value: at, selected: at === watchedIndex() }, text)));
  if (known === undefined || where === undefined) {
    return;
  }
  const { columns, layers } = known;
  const found = columns.findIndex(({ position }) => position === cursor?.position);
  const column = found >= 0 && cursor ? found : columns.length - 1;
  const spot = { layer: Math.min(cursor?.layer ?? layers.length - 1, layers.length - 1), column };
  const now = shown();
  grid.show(now, spot);
  look(spot);
  const [from, to] = [columns[0]?.position, columns.at(-1)?.position];
  earlier.hidden = from === undefined || from === 0;
  later.hidden = to === undefined || to >= length - 1;
  view.caption(
    where.path === "end" ? "At the end" : `Step ${where.step}`,
    ` · ${layers.length - 1} layers × ${length} ${length === 1 ? "position" : "positions"}`,
    from !== undefined && columns.length < length ? `, ${from} to ${to} shown` : "",
  );
  legendOf(now);
}

function shown(): Shown {
  const table = known ?? EMPTY;
  return {
    table,
    measure: kept.measure,
    watched: watchedIndex(),
    range: rangeOf(table, kept.measure, watchedIndex()),
    scale: weightScale(),
    next,
    here,
  };
}

function watchedIndex(): number {
  return Math.min(kept.of, Math.max(0, kept.watch.length - 1));
}

/** Whether the run stands in a layer. */
function here({ path }: LensLayer): boolean {
  return path !== "" && where !== undefined && (where.path === path || where.path.startsWith(`${path}.`));
}

function legendOf({ range, scale, measure }: Shown): void {
  const ramp = h("span", { class: "ramp" });
  ramp.style.backgroundImage = gradient(scale, 0, 1);
  const isShare = measure === "probability" || measure === "watched";
  const written = (value: number): string => (isShare ? percent(value).replace("< 0.001", "0") : number(value));
  const isRecomputed = known?.columns.some(({ recomputed }) => recomputed);
  fill(
    legend,
    written(range.low),
    ramp,
    written(range.high),
    h("span", { class: "quiet-text" }, MEASURES[measure]),
    isRecomputed
      ? h(
          "span",
          { class: "quiet-text" },
          "≈ from one forward over the whole text, which rounds differently than the steps did",
        )
      : undefined,
    h("span", { class: "quiet-text" }, "Enter or a click goes there"),
  );
}

function picture(): HTMLCanvasElement {
  return canvasOf(shown());
}

function drawing(): SVGSVGElement {
  return svgOf(shown());
}
