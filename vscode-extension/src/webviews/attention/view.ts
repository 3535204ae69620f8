// The page: puts what is known where it belongs.

import { fill, h } from "../shared/dom";
import { exportButtons } from "../shared/exporting";
import type { Frame } from "../shared/frame";
import { differenceScale, gradient, type Scale, weightScale } from "../shared/heatmap/colors";
import { HeatMap, type Shown } from "../shared/heatmap/heatmap";
import { isExact, type Patch, type Span } from "../shared/heatmap/patch";
import { tableElement } from "../shared/table";
import { cellWords } from "./cell";
import type { Controls } from "./controls";
import { type Head, headTable, kindOf, ofKind, sameHead, sentence, sorted } from "./heads";
import type { Seen } from "./looks";
import { lookTable } from "./looktable";
import { Overview } from "./overview";
import { difference, hides, patchOf, patchOfHeads, together } from "./patch";
import { minus, over, patchTable, type Row } from "./rows";
import { Strip } from "./strip";
import { quoted } from "./text";

/** Everything that is shown. */
export interface Scene {
  /** New at every stop. */
  frameId: number;
  now: Seen;
  other?: Seen | undefined;
  head: Head | undefined;
  query: number;
  isPinned: boolean;
  here: (head: Head) => boolean;
  steps: number;
  /** The text up to here, where it is known. */
  tokens: readonly string[] | undefined;
  map?: Patch | undefined;
  row?: Row | undefined;
  otherMap?: Patch | undefined;
  otherRow?: Row | undefined;
}

export interface Picks {
  head(name: string): void;
  query(position: number): void;
  coarse(rows: Span, columns: Span): void;
}

export class View {
  #scene: Scene | undefined;
  #order: Head[] = [];
  /** Those of them that stand in the map of all heads. */
  #rows: Head[] = [];
  #mapped: { patch: Patch; caption: string } | undefined;
  readonly #overview: Overview;
  readonly #heads: HTMLElement;
  readonly #title = h("h2", {});
  readonly #facts = h("p", { class: "facts" });
  readonly #strip: Strip;
  readonly #otherStrip: Strip;
  readonly #stripTitle = h("p", { class: "note" });
  readonly #otherTitle = h("p", { class: "note" });
  readonly #other: HTMLElement;
  readonly #looks = h("div", { class: "looks" });
  readonly #mapTitle = h("h2", {});
  readonly #map: HeatMap;
  readonly #otherMap: HeatMap;
  readonly #stepTitle = h("p", { class: "note" });
  readonly #otherStepTitle = h("p", { class: "note" });
  readonly #note = h("p", { class: "note" });
  readonly #legend = h("p", { class: "legend", "aria-hidden": "true" });
  readonly #readers = h("div", {});
  readonly #complaint = h("p", { class: "message error", role: "alert", hidden: true });

  constructor(
    readonly page: Frame,
    readonly controls: Controls,
    readonly picks: Picks,
  ) {
    this.#overview = new Overview((name) => picks.head(name));
    this.#strip = new Strip("Tokens: where one of them looks", (position) => {
      if (this.#scene?.head?.call.kind !== "cross") {
        picks.query(position);
      }
    });
    this.#otherStrip = new Strip("Tokens of the other step", () => undefined);
    const pick = (row: number): void => this.#picked(row);
    this.#map = new HeatMap("Map of attention", { pick, coarse: (rows, columns) => picks.coarse(rows, columns) });
    this.#otherMap = new HeatMap("Map of attention in the other step", { pick: () => undefined });
    this.#heads = h("section", {}, h("h2", {}, "All heads"), this.#overview.element);
    this.#other = h("div", {}, this.#otherTitle, this.#otherStrip.element);
    const text = h(
      "section",
      { class: "text" },
      this.#title,
      this.#facts,
      this.#stripTitle,
      this.#strip.element,
      this.#other,
      this.#looks,
    );
    const map = h(
      "section",
      { class: "large" },
      this.#mapTitle,
      h(
        "div",
        { class: "compared" },
        h("div", {}, this.#stepTitle, this.#map.element),
        h("div", {}, this.#otherStepTitle, this.#otherMap.element),
      ),
      this.#note,
      this.#legend,
      this.#readers,
    );
    fill(page.content, controls.element, this.#complaint, h("div", { class: "views" }, this.#heads, text, map));
    fill(
      page.tools,
      exportButtons({
        name: "attention",
        canvas: () => this.#map.canvas,
        drawing: () => this.#map.drawing,
        table: () => this.#table(),
      }),
    );
  }

  repaint(): void {
    if (this.#scene) {
      this.show(this.#scene);
    }
  }

  /** Says what went wrong beside what is there. */
  complain(message: string): void {
    this.#complaint.textContent = message;
    this.#complaint.hidden = false;
  }

  show(scene: Scene): void {
    this.#scene = scene;
    this.#complaint.hidden = true;
    const { now, head } = scene;
    this.controls.offer(now.heads, scene.steps);
    if (head === undefined) {
      this.page.say("No attention can be heard of in this model: it has none, or a kernel of its own computes it.");
      return;
    }
    this.page.clear();
    this.page.caption(caption(scene, this.controls));
    this.#order = sorted(ofKind(now.heads, this.controls.kept.kind), this.controls.kept.sort);
    const isMany = head.call.queries.size > 1;
    this.#heads.hidden = !isMany || now.isPartial;
    if (!this.#heads.hidden) {
      this.#overview.show(this.#order, weightScale(), {
        sort: this.controls.kept.sort,
        selected: head.name,
        here: scene.here,
      });
    }
    this.#title.textContent = `Head ${head.name}${head.is.kind ? ` · ${kindOf(head.is)}` : ""}`;
    this.#facts.textContent = sentence(head);
    this.#showStrips(scene, head);
    this.#showMaps(scene, head, isMany);
    fill(this.#readers, tableElement(headTable(this.#order, "All heads"), { hidden: true }));
  }

  refine(patch: Patch): void {
    this.#map.refine(patch);
  }

  refineHeads(heads: readonly Head[]): void {
    const patch = patchOfHeads(this.#rows.flatMap(({ name }) => sameHead(heads, name) ?? []));
    if (patch) {
      this.#map.refine(patch);
    }
  }

  #picked(row: number): void {
    const isMany = (this.#scene?.head?.call.queries.size ?? 0) > 1;
    const head = this.#rows[row];
    if (isMany) {
      this.picks.query(row);
    } else if (head) {
      this.picks.head(head.name);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ the text

  #showStrips(scene: Scene, head: Head): void {
    const row = scene.row ?? rowOfHead(head, scene.query);
    const otherRow = scene.other && scene.otherRow;
    const isDifference = this.controls.isDifference && otherRow !== undefined;
    this.#other.hidden = otherRow === undefined || isDifference;
    if (row === undefined) {
      this.#stripTitle.textContent = "Asking where the token looks …";
      return;
    }
    const isCausal = head.call.kind === "self";
    const text = textOf(scene, head, row);
    const own = over(row, text.start, text.labels.length, isCausal);
    const weights = isDifference ? minus(own, over(otherRow, text.start, text.labels.length, isCausal)) : own;
    const scale = isDifference ? differenceScale() : weightScale();
    const leftOut = head.is.leftOut;
    const isCross = head.call.kind === "cross";
    this.#strip.show({ ...text, query: isCross ? undefined : row.query, weights, scale, isDifference, leftOut });
    const { labels, start } = isCross && (head.call.queries.block ?? 1) === 1 ? head.call.queries : text;
    const query = isCross && labels === text.labels ? "" : (labels[row.query - start] ?? "");
    const what = isDifference ? `looks more, and less, than in step ${scene.other?.body.step}` : "looks";
    fill(this.#stripTitle, "Where ", h("span", { class: "token" }, query), ` at ${row.query} ${what}`);
    if (scene.isPinned) {
      const last = head.call.queries.end - 1;
      this.#stripTitle.append(
        " · ",
        h("button", { class: "quiet", onclick: () => this.picks.query(last) }, "the last token again"),
      );
    }
    if (otherRow && scene.other && !isDifference) {
      const twin = sameHead(scene.other.heads, head.name);
      const labels = otherRow.labels;
      const others = over(otherRow, otherRow.start, labels.length, isCausal);
      this.#otherStrip.show({
        labels,
        start: otherRow.start,
        query: otherRow.query,
        weights: others,
        scale,
        isDifference,
        leftOut: twin?.is.leftOut,
      });
      this.#otherTitle.textContent = `Step ${scene.other.body.step}: where ${labels[otherRow.query - otherRow.start] ?? ""} at ${otherRow.query} looks`;
    }
    const caption = isDifference ? "Where it looks more, and less" : "It looks at";
    fill(this.#looks, lookTable(caption, text, weights, isDifference));
  }

  // ------------------------------------------------------------------------------------------------------------ the maps

  #showMaps(scene: Scene, head: Head, isMany: boolean): void {
    this.#rows = together(this.#order, head);
    const own = isMany ? (scene.map ?? (scene.now.isPartial ? undefined : patchOf(head))) : patchOfHeads(this.#rows);
    const twin = scene.other && sameHead(scene.other.heads, head.name);
    const isTwinMany = (twin?.call.queries.size ?? 0) > 1;
    const other =
      (twin && (isMany ? isTwinMany && scene.otherMap : this.#sameOrder(scene.other?.heads ?? []))) || undefined;
    const comparable = own && other ? difference(own, other) : undefined;
    const isDifference = this.controls.isDifference && comparable !== undefined;
    const patch = isDifference ? comparable : own;
    this.#map.element.hidden = patch === undefined;
    this.#otherMap.element.hidden = other === undefined || this.controls.isDifference;
    for (const [title, seen] of [
      [this.#stepTitle, scene.now],
      [this.#otherStepTitle, scene.other],
    ] as const) {
      title.hidden = this.#otherMap.element.hidden;
      title.textContent = `Step ${seen?.body.step}`;
    }
    this.#mapTitle.textContent = isMany ? `Head ${head.name}: every token` : "All heads: where the last token looks";
    this.#note.textContent = note(scene, isMany, isDifference, this.controls);
    if (patch === undefined) {
      return;
    }
    const scale = isDifference ? differenceScale() : weightScale();
    const key = `${isMany} ${patch.rows.end} ${patch.columns.end}`;
    const rows = isMany ? head.name : this.#rows.map(({ name }) => name).join();
    const version = `${scene.frameId} ${rows} ${isDifference} ${this.controls.kept.sink}`;
    this.#mapped = { patch, caption: this.#mapTitle.textContent };
    this.#map.show({
      ...this.#said(patch, head, isMany, isDifference),
      key,
      version,
      scale,
      chosen: isMany ? this.#row(scene) : this.#rows.findIndex(({ name }) => name === head.name),
    });
    if (other && twin && !this.#otherMap.element.hidden) {
      this.#otherMap.show({
        ...this.#said(other, twin, isMany, false),
        key: `${other.rows.end} ${other.columns.end}`,
        version: `${version} ${scene.other?.body.step}`,
        scale: weightScale(),
        chosen: undefined,
      });
    }
    this.#showLegend(scale, isDifference);
  }

  #row({ query, head }: Scene): number | undefined {
    const { start, end } = head?.call.queries ?? { start: 0, end: 0 };
    return query >= start && query < end ? query : undefined;
  }

  /** The heads of another step, in the order of these; undefined where their last rows are not known one by one. */
  #sameOrder(heads: readonly Head[]): Patch | undefined {
    const isCoarse = heads.some(({ call }) => (call.queries.block ?? 1) > 1);
    return isCoarse ? undefined : patchOfHeads(this.#rows.flatMap(({ name }) => sameHead(heads, name) ?? []));
  }

  #said(patch: Patch, head: Head, isMany: boolean, isDifference: boolean): Pick<Shown, "patch" | "hides" | "say"> {
    const hidden = hides(head.call);
    return {
      patch,
      hides: isMany ? hidden : () => false,
      say: (row, column, from) =>
        cellWords(from ?? patch, row, column, { head: head.is, hides: hidden, isMany, isDifference }),
    };
  }

  #showLegend(scale: Scale, isDifference: boolean): void {
    const ramp = h("span", { class: "ramp" });
    ramp.style.background = isDifference ? gradient(scale, -1, 1) : gradient(scale, 0, 1);
    fill(
      this.#legend,
      isDifference ? "−100 %" : "0",
      ramp,
      isDifference ? "+100 %" : "100 %",
      h("span", { class: "masking" }, h("span", { class: "hatch" }), " masked"),
      "Ctrl and the wheel zoom, dragging moves, a click chooses a row",
    );
  }

  #table(): ReturnType<typeof patchTable> {
    const { patch, caption } = this.#mapped ?? { patch: undefined, caption: "" };
    return patch ? patchTable(patch, caption, "from") : { caption: "", columns: [], rows: [] };
  }
}

function caption({ now, other }: Scene, { kept }: Controls): string {
  const [call] = now.body.calls;
  const layers = new Set(now.heads.map(({ layer }) => layer)).size;
  const counts = new Set(now.body.calls.map(({ headCount }) => headCount));
  const size = call ? `${call.queries.size.toLocaleString("en")} × ${call.keys.size.toLocaleString("en")} tokens` : "";
  const sink = {
    "": "",
    first: " · without the first token: the rest of every row adds up to 100 % again",
    highest: " · without the key that each head gives most to: the rest of every row adds up to 100 % again",
  }[kept.sink];
  const compared = other ? ` · compared with step ${other.body.step}` : "";
  return `Step ${now.body.step} · ${layers} layers × ${[...counts].join(" or ")} heads · ${call?.kind} attention, ${call?.kernel} · ${size}${sink}${compared}`;
}

function note({ now, other, otherRow }: Scene, isMany: boolean, isDifference: boolean, controls: Controls): string {
  if (now.isPartial) {
    return "Working out every head over the whole text …";
  }
  if (other && otherRow && !isDifference && (controls.isDifference || isMany)) {
    const isSame = other.heads[0]?.call.queries.size !== 1;
    return isMany && isSame && !controls.isDifference
      ? ""
      : "The maps of the two steps share no rows, or are too large for it: what is compared is the text.";
  }
  return isMany
    ? ""
    : "One token looks in this step. A click on an earlier one shows where that looked, in its own step.";
}

/** The row as it came with all heads. */
function rowOfHead(head: Head, query: number): Row | undefined {
  const patch = patchOf(head);
  const at = query >= patch.rows.start && query < patch.rows.end && isExact(patch) ? query : undefined;
  if (at === undefined) {
    return undefined;
  }
  const width = patch.columns.end - patch.columns.start;
  const from = (at - patch.rows.start) * width;
  return {
    query,
    start: patch.columns.start,
    labels: patch.columns.labels,
    weights: patch.values.slice(from, from + width),
  };
}

/** The tokens of the strip: the whole text where it is known, else the keys. */
function textOf({ tokens }: Scene, { call }: Head, row: Row): { labels: readonly string[]; start: number } {
  if (call.kind === "self" && tokens && tokens.length >= row.start + row.labels.length) {
    return { labels: tokens.map(quoted), start: 0 };
  }
  return { labels: row.labels, start: row.start };
}
