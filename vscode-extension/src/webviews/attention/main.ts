// Attention: all heads small, one large, the text coloured by where one token looks.
//
// At a stop all heads are asked for; then, of the chosen one, what is not known exactly yet. Every choice does the same
// again: what has been asked is kept.

import type { GenerationResponseBody } from "../../protocol/messages";
import { frame } from "../shared/frame";
import type { Patch, Span } from "../shared/heatmap/patch";
import { Cancelled, follow, type Stop } from "../shared/host";
import { onThemeChange } from "../shared/theme";
import { Controls, type Sink } from "./controls";
import { type Head, isBelow, sameHead, telling } from "./heads";
import { Looks, type Seen } from "./looks";
import { type Row, rowIn, stepOf } from "./rows";
import { View } from "./view";
import "./style.css";

/** From so many tokens on the last of them is looked at before all. */
const LONG = 700;

const page = frame("Attention");
const controls = new Controls(() => again());
const view = new View(page, controls, {
  head: (name) => controls.keep({ head: name }),
  query: (position) => look(position),
  coarse: (rows, columns) => void finer(rows, columns),
});

/** Up to so many tokens the map of a head has every row. */
const EXACT = 256;

/** What is known at this stop. */
interface Known {
  stop: Stop;
  looks: Looks;
  generation: GenerationResponseBody | undefined;
  /** All heads over all queries, by what they are without. */
  whole: Map<Sink, Seen>;
  now?: Seen;
  other?: Seen | undefined;
}

let known: Known | undefined;
/** The position that looks, if it is not the last one. */
let pinned: number | undefined;
let work = new AbortController();
let detail = new AbortController();

page.say("Stop the model to see where its heads look.");
follow({ stopped, running: () => page.outdated(true), ended: () => page.outdated(true) }, page.say);
onThemeChange(() => view.repaint());

async function stopped(stop: Stop): Promise<void> {
  work.abort();
  work = new AbortController();
  const looks = new Looks(stop.frameId, () => controls.kept.sink);
  const generation = await looks.answers.get("llm/generation", { threadId: stop.threadId }, stop.signal).catch(missing);
  known = { stop, looks, generation, whole: new Map() };
  if (pinned !== undefined && pinned >= lengthOf(generation)) {
    pinned = undefined;
  }
  await first(known, stop.signal);
  page.outdated(false);
  void settle(rest(known, signalOf(stop)));
}

function missing(error: unknown): undefined {
  if (error instanceof Cancelled) {
    throw error;
  }
  return undefined;
}

/** After a choice: the same, with what is there already. */
function again(): void {
  work.abort();
  work = new AbortController();
  const current = known;
  if (current) {
    const signal = signalOf(current.stop);
    void settle(first(current, signal).then(() => rest(current, signal)));
  }
}

function signalOf(stop: Stop): AbortSignal {
  return AbortSignal.any([stop.signal, work.signal]);
}

async function settle(done: Promise<void>): Promise<void> {
  try {
    await done;
  } catch (error) {
    if (!(error instanceof Cancelled)) {
      view.complain(error instanceof Error ? error.message : String(error));
    }
  }
}

function look(position: number): void {
  const last = lastOf(known?.now);
  pinned = position === last ? undefined : position;
  again();
}

// ---------------------------------------------------------------------------------------------------------- what is asked

/** All heads, or of a long text first its last query: enough to paint. */
async function first(known: Known, signal: AbortSignal): Promise<void> {
  const last = lengthOf(known.generation) - 1;
  const isLong = known.generation?.step === 0 && last >= LONG && !known.whole.has(controls.kept.sink);
  known.now = await (isLong
    ? known.looks.heads(undefined, signal, { last }).catch(() => all(known, signal))
    : all(known, signal));
  known.other = undefined;
  paint(known, {});
}

async function all({ looks, generation, whole }: Known, signal: AbortSignal): Promise<Seen> {
  const { sink } = controls.kept;
  const seen = whole.get(sink) ?? (await looks.heads(undefined, signal, { isRough: generation?.step === 0 }));
  whole.set(sink, seen);
  return seen;
}

/** Of the chosen head what is not known exactly, the step to compare with, then what takes long. */
async function rest(known: Known, signal: AbortSignal): Promise<void> {
  const { looks, now } = known;
  const head = now && chosen(now, known);
  if (now === undefined || head === undefined) {
    return;
  }
  const found: Found = {};
  const query = pinned ?? lastOf(now);
  const { size } = head.call.queries;
  if (size > 1 && size <= EXACT) {
    found.map = await looks.map(head, undefined, signal);
  }
  found.row = rowIn(found.map, query) ?? (await rowAt(known, head, query, signal));
  paint(known, found);
  if (controls.other !== undefined) {
    await compare(known, controls.other, head, query, found, signal);
    paint(known, found);
  }
  if (size > EXACT) {
    found.map = await looks.map(head, undefined, signal);
    paint(known, found);
  }
  if (now.isPartial) {
    known.now = await all(known, signal);
    paint(known, found);
  }
}

async function compare(
  known: Known,
  step: number,
  { name }: Head,
  query: number,
  found: Found,
  signal: AbortSignal,
): Promise<void> {
  const { looks } = known;
  known.other = await looks.heads(step, signal);
  const twin = sameHead(known.other.heads, name);
  if (twin) {
    const { start, end, size } = twin.call.queries;
    const other = query >= start && query < end ? query : end - 1;
    found.otherMap = size > 1 ? await looks.map(twin, step, signal) : undefined;
    found.otherRow = rowIn(found.otherMap, other) ?? rowOfPatch(await looks.row(twin, other, step, signal));
  }
}

/** Where a token looked, in the step in which it did. */
async function rowAt(
  { looks, generation, now }: Known,
  head: Head,
  query: number,
  signal: AbortSignal,
): Promise<Row | undefined> {
  const { start, end } = head.call.queries;
  const isHere = query >= start && query < end;
  const isPast = !isHere && head.call.kind === "self" && generation !== undefined && query < end;
  if (!isHere && !isPast) {
    pinned = undefined;
    return rowOfPatch(await looks.row(head, lastOf(now), undefined, signal));
  }
  const step = isPast ? stepOf(query, generation.promptLength) : undefined;
  return rowOfPatch(await looks.row(head, query, step, signal));
}

function rowOfPatch(patch: Patch | undefined): Row | undefined {
  return patch && rowIn(patch, patch.rows.end - 1);
}

/** What is looked at goes before all else. */
async function finer(rows: Span, columns: Span): Promise<void> {
  work.abort();
  detail.abort();
  detail = new AbortController();
  const head = known?.now && chosen(known.now, known);
  if (known === undefined || head === undefined) {
    return;
  }
  const signal = AbortSignal.any([known.stop.signal, detail.signal]);
  try {
    if (head.call.queries.size > 1) {
      const part = await known.looks.part(head, rows, columns, signal);
      if (part) {
        view.refine(part);
      }
    } else if (new Set(known.now?.body.calls.map(({ keys }) => `${keys.start} ${keys.end}`)).size === 1) {
      view.refineHeads(await known.looks.keys(columns, signal));
    }
    again();
  } catch (error) {
    if (!(error instanceof Cancelled)) {
      view.complain(error instanceof Error ? error.message : String(error));
    }
  }
}

// --------------------------------------------------------------------------------------------------------- what is known

export interface Found {
  map?: Patch | undefined;
  row?: Row | undefined;
  otherMap?: Patch | undefined;
  otherRow?: Row | undefined;
}

function chosen(now: Seen, { generation }: Known): Head | undefined {
  return sameHead(now.heads, controls.kept.head) ?? telling(now.heads, layerOf(generation));
}

function layerOf(generation: GenerationResponseBody | undefined): string | undefined {
  return generation?.layers.find((layer) => isBelow(generation.path, layer));
}

/** How many positions the text has at this step. */
function lengthOf(generation: GenerationResponseBody | undefined): number {
  return generation ? generation.promptLength + generation.step : 0;
}

function lastOf(now: Seen | undefined): number {
  return (now?.body.calls.at(-1)?.queries.end ?? 1) - 1;
}

function paint(known: Known, found: Found): void {
  const { now, generation } = known;
  if (now) {
    const layer = now.body.step === generation?.step ? layerOf(generation) : undefined;
    view.show({
      frameId: known.stop.frameId,
      now,
      other: known.other,
      head: chosen(now, known),
      query: pinned ?? lastOf(now),
      isPinned: pinned !== undefined,
      here: (head) => layer !== undefined && isBelow(head.call.path, layer),
      steps: generation?.steps ?? 0,
      tokens: generation?.tokens.slice(0, lengthOf(generation)).map(({ text }) => text),
      ...found,
    });
  }
}
