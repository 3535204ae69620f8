// A map of weights that can be zoomed and panned: by wheel, by dragging, by keys. What is seen of a large one comes later
// in full resolution, on top of the coarse one.

import { h } from "../dom";
import type { Scale } from "./colors";
import { draw, drawPointer, type Layout, layoutOf } from "./drawing";
import { cellOf, covers, type Patch, type Span } from "./patch";
import { type Hides, pictureOf } from "./picture";
import { svgOf } from "./svg";
import { isWhole, moved, type Size, seen, showing, type Viewport, whole, zoomed } from "./viewport";
import "./heatmap.css";

export interface Shown {
  /** Changes when another thing is shown, which begins with all of it. */
  key: string;
  /** Changes when the numbers may be others: finer parts of it are then asked for again. */
  version: string;
  /** All of it, perhaps coarse. */
  patch: Patch;
  scale: Scale;
  hides: Hides;
  /** The row that is chosen. */
  chosen: number | undefined;
  /** In words what is at a cell; of the finest patch that has it. */
  say(row: number, column: number, patch: Patch | undefined): string;
}

export interface Listeners {
  pick(row: number, column: number): void;
  /** These rows and columns are seen, but only coarsely. */
  coarse?(rows: Span, columns: Span): void;
}

const STEP = 1.5;

export class HeatMap {
  readonly element: HTMLElement;
  readonly canvas = h("canvas", { class: "cells" });
  readonly #pointer = h("canvas", { class: "pointer" });
  readonly #tip = h("div", { class: "tip", role: "status", "aria-live": "polite", hidden: true });
  readonly #plot: HTMLElement;
  #shown: Shown | undefined;
  #view: Viewport = { left: 0, top: 0, width: 1, height: 1 };
  #layout: Layout | undefined;
  #pictures: { patch: Patch; picture: HTMLCanvasElement }[] = [];
  #cursor: { row: number; column: number } | undefined;
  #drag: { x: number; y: number; hasMoved: boolean } | undefined;
  #later = 0;

  constructor(
    label: string,
    readonly listeners: Listeners,
    hint = "Arrows move, Enter chooses a row, + and - zoom.",
  ) {
    const button = (text: string, title: string, onclick: () => void): HTMLElement =>
      h("button", { class: "quiet", title, "aria-label": title, onclick }, text);
    this.#plot = h(
      "div",
      {
        class: "plot",
        tabindex: 0,
        role: "application",
        "aria-label": `${label}. ${hint}`,
      },
      this.canvas,
      this.#pointer,
      this.#tip,
    );
    const zooms = h(
      "div",
      { class: "zooms", role: "group", "aria-label": "Zoom" },
      button("+", "Zoom in", () => this.#zoomAtCenter(STEP)),
      button("−", "Zoom out", () => this.#zoomAtCenter(1 / STEP)),
      button("all", "Show all", () => this.#look(whole(this.#size))),
    );
    this.element = h("div", { class: "heatmap" }, zooms, this.#plot);
    this.#listen();
    new ResizeObserver(() => this.#paint()).observe(this.element);
  }

  show(shown: Shown): void {
    const isOther = shown.key !== this.#shown?.key;
    const finer = shown.version === this.#shown?.version ? this.#pictures.slice(1).map(({ patch }) => patch) : [];
    this.#shown = shown;
    this.#pictures = [shown.patch, ...finer].map((patch) => ({
      patch,
      picture: pictureOf(patch, shown.scale, shown.hides),
    }));
    if (isOther) {
      this.#view = whole(this.#size);
      this.#leave();
    }
    this.#look(this.#view);
  }

  /** A finer part of what is shown. */
  refine(patch: Patch): void {
    if (this.#shown) {
      const picture = pictureOf(patch, this.#shown.scale, this.#shown.hides);
      this.#pictures = [...this.#pictures.slice(0, 1), ...this.#pictures.slice(1).slice(-3), { patch, picture }];
      this.#paint();
    }
  }

  /** Moves the cursor to a cell, and sees to it that it is seen. */
  point(row: number, column: number): void {
    const { rows, columns } = this.#shown?.patch ?? { rows: { start: 0 }, columns: { start: 0 } };
    this.#cursor = { row: row - rows.start, column: column - columns.start };
    this.#look(showing(this.#view, this.#cursor.row, this.#cursor.column, this.#size));
  }

  /** All of it, as coarse as it came. */
  get drawing(): SVGSVGElement {
    const [first] = this.#pictures;
    if (first === undefined) {
      throw new Error("there is no map to draw");
    }
    return svgOf(first.patch, first.picture);
  }

  /** What is seen, with positions in their text. */
  get seen(): { rows: Span; columns: Span } {
    return this.#positions(seen(this.#view, this.#size));
  }

  get #size(): Size {
    const { rows, columns } = this.#shown?.patch ?? { rows: { start: 0, end: 1 }, columns: { start: 0, end: 1 } };
    return { rows: rows.end - rows.start, columns: columns.end - columns.start };
  }

  #positions({ rows, columns }: { rows: Span; columns: Span }): { rows: Span; columns: Span } {
    const [down, across] = [this.#shown?.patch.rows.start ?? 0, this.#shown?.patch.columns.start ?? 0];
    return {
      rows: { start: rows.start + down, end: rows.end + down },
      columns: { start: columns.start + across, end: columns.end + across },
    };
  }

  #look(view: Viewport): void {
    this.#view = view;
    this.#paint();
    window.clearTimeout(this.#later);
    this.#later = window.setTimeout(() => this.#askFiner(), 120);
  }

  #askFiner(): void {
    const first = this.#shown?.patch;
    if (first === undefined || (first.rows.block === 1 && first.columns.block === 1)) {
      return;
    }
    const now = this.#positions(seen(this.#view, this.#size));
    const isThere = this.#pictures.some(
      ({ patch }) => patch !== first && patch.rows.block <= this.#pixelBlock && covers(patch, now.rows, now.columns),
    );
    if (!isThere && !isWhole(this.#view, this.#size)) {
      const wanted = this.#positions(seen(this.#view, this.#size, 0.25));
      this.listeners.coarse?.(wanted.rows, wanted.columns);
    }
  }

  /** How many rows share a pixel. */
  get #pixelBlock(): number {
    return Math.max(1, Math.ceil(this.#view.height / (this.#layout?.plot.height ?? 1)));
  }

  #paint(): void {
    if (this.#shown === undefined || this.element.clientWidth === 0) {
      return;
    }
    const patches = this.#pictures.map(({ patch }) => patch);
    this.#layout = layoutOf(this.#size, patches, this.#plot.clientWidth);
    for (const canvas of [this.canvas, this.#pointer]) {
      const { width, height } = this.#layout;
      canvas.width = width * devicePixelRatio;
      canvas.height = height * devicePixelRatio;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    draw(this.canvas, this.#layout, this.#view, this.#pictures, this.#shown.chosen);
    this.#point();
  }

  // ------------------------------------------------------------------------------------------------- what is pointed at

  #point(): void {
    if (this.#layout === undefined || this.#shown === undefined) {
      return;
    }
    drawPointer(this.#pointer, this.#layout, this.#view, this.#cursor);
    this.#tip.hidden = this.#cursor === undefined;
    if (this.#cursor === undefined) {
      return;
    }
    const { rows, columns } = this.#shown.patch;
    const { row, column } = { row: this.#cursor.row + rows.start, column: this.#cursor.column + columns.start };
    const finest = this.#pictures
      .map(({ patch }) => patch)
      .filter((patch) => cellOf(patch.rows, row) !== undefined && cellOf(patch.columns, column) !== undefined)
      .sort((a, b) => a.rows.block * a.columns.block - b.rows.block * b.columns.block)[0];
    this.#tip.textContent = this.#shown.say(row, column, finest);
    const { plot, left, top } = this.#layout;
    const x = left + ((this.#cursor.column + 1 - this.#view.left) / this.#view.width) * plot.width;
    const y = top + ((this.#cursor.row + 1 - this.#view.top) / this.#view.height) * plot.height;
    const width = this.#tip.offsetWidth;
    const isRight = x > this.#plot.clientWidth / 2;
    const beside = isRight ? x - plot.width / this.#view.width - 8 - width : x + 8;
    this.#tip.style.left = `${Math.max(0, Math.min(beside, this.#plot.clientWidth - width))}px`;
    this.#tip.style.top = `${y + 4}px`;
  }

  #cellAt(event: MouseEvent): { x: number; y: number; isInside: boolean } {
    const box = this.canvas.getBoundingClientRect();
    const { plot, left, top } = this.#layout ?? { plot: { width: 1, height: 1 }, left: 0, top: 0 };
    const x = this.#view.left + ((event.clientX - box.left - left) / plot.width) * this.#view.width;
    const y = this.#view.top + ((event.clientY - box.top - top) / plot.height) * this.#view.height;
    const { rows, columns } = this.#size;
    const isInside = x >= this.#view.left && y >= this.#view.top && x < columns && y < rows;
    return { x, y, isInside };
  }

  #leave(): void {
    this.#cursor = undefined;
    this.#point();
  }

  // ------------------------------------------------------------------------------------------------------ mouse and keys

  #listen(): void {
    const plot = this.#plot;
    plot.addEventListener("pointerdown", (event) => {
      this.#drag = { x: event.clientX, y: event.clientY, hasMoved: false };
      plot.setPointerCapture(event.pointerId);
    });
    plot.addEventListener("pointermove", (event) => this.#pointed(event));
    plot.addEventListener("pointerup", (event) => {
      const { x, y, isInside } = this.#cellAt(event);
      if (this.#drag && !this.#drag.hasMoved && isInside) {
        this.#pick(Math.floor(y), Math.floor(x));
      }
      this.#drag = undefined;
    });
    plot.addEventListener("pointerleave", () => this.#leave());
    plot.addEventListener("blur", () => this.#leave());
    plot.addEventListener("dblclick", (event) => this.#zoom(2, this.#cellAt(event)));
    plot.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    plot.addEventListener("keydown", (event) => this.#key(event));
  }

  #pointed(event: PointerEvent): void {
    if (this.#drag && this.#layout) {
      const [x, y] = [event.clientX - this.#drag.x, event.clientY - this.#drag.y];
      if (this.#drag.hasMoved || Math.hypot(x, y) > 4) {
        this.#drag = { x: event.clientX, y: event.clientY, hasMoved: true };
        this.#pan(-x, -y);
      }
      return;
    }
    const { x, y, isInside } = this.#cellAt(event);
    this.#cursor = isInside ? { row: Math.floor(y), column: Math.floor(x) } : undefined;
    this.#point();
  }

  #wheel(event: WheelEvent): void {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.#zoom(2 ** (-event.deltaY / 300), this.#cellAt(event));
    } else if (!isWhole(this.#view, this.#size)) {
      event.preventDefault();
      this.#pan(event.shiftKey ? event.deltaY : event.deltaX, event.shiftKey ? 0 : event.deltaY);
    }
  }

  #pan(right: number, down: number): void {
    const { plot } = this.#layout ?? { plot: { width: 1, height: 1 } };
    const { width, height } = this.#view;
    this.#look(moved(this.#view, (right * width) / plot.width, (down * height) / plot.height, this.#size));
  }

  #zoom(factor: number, { x, y }: { x: number; y: number }): void {
    if (this.#layout) {
      this.#look(zoomed(this.#view, factor, x, y, this.#size, this.#layout.plot));
    }
  }

  #zoomAtCenter(factor: number): void {
    const { left, top, width, height } = this.#view;
    this.#zoom(
      factor,
      this.#cursor ? { x: this.#cursor.column, y: this.#cursor.row } : { x: left + width / 2, y: top + height / 2 },
    );
  }

  #key(event: KeyboardEvent): void {
    const far = event.shiftKey ? 10 : 1;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [0, -far],
      ArrowRight: [0, far],
      ArrowUp: [-far, 0],
      ArrowDown: [far, 0],
    };
    const move = moves[event.key];
    if (move) {
      this.#step(...move);
    } else if (event.key === "+" || event.key === "=") {
      this.#zoomAtCenter(STEP);
    } else if (event.key === "-") {
      this.#zoomAtCenter(1 / STEP);
    } else if (event.key === "0") {
      this.#look(whole(this.#size));
    } else if (event.key === "Enter" && this.#cursor) {
      this.#pick(this.#cursor.row, this.#cursor.column);
    } else if (event.key === "Escape") {
      this.#leave();
    } else {
      return;
    }
    event.preventDefault();
  }

  #pick(row: number, column: number): void {
    const { rows, columns } = this.#shown?.patch ?? { rows: { start: 0 }, columns: { start: 0 } };
    this.listeners.pick(row + rows.start, column + columns.start);
  }

  #step(down: number, right: number): void {
    const { rows, columns } = this.#size;
    const from = this.#cursor ?? {
      row: Math.floor(this.#view.top) - down,
      column: Math.floor(this.#view.left) - right,
    };
    const row = Math.max(0, Math.min(rows - 1, from.row + down));
    const column = Math.max(0, Math.min(columns - 1, from.column + right));
    this.#cursor = { row, column };
    this.#look(showing(this.#view, row, column, this.#size));
  }
}
