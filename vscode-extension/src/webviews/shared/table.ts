// A table that screen readers can read: what a picture shows, as text.

import { h } from "./dom";

export interface Table {
  caption: string;
  columns: readonly string[];
  rows: readonly (readonly (string | number)[])[];
}

/** `hidden` keeps it for screen readers only, beside a picture that shows the same. */
export function tableElement({ caption, columns, rows }: Table, options: { hidden?: boolean } = {}): HTMLTableElement {
  const head = h("tr", {}, ...columns.map((column) => h("th", { scope: "col" }, column)));
  const body = rows.map((row) =>
    h(
      "tr",
      {},
      ...row.map((cell, index) => (index === 0 ? h("th", { scope: "row" }, String(cell)) : h("td", {}, text(cell)))),
    ),
  );
  return h(
    "table",
    { class: options.hidden ? "for-readers" : undefined },
    h("caption", {}, caption),
    h("thead", {}, head),
    h("tbody", {}, ...body),
  );
}

/** As RFC 4180 has it. */
export function csv({ columns, rows }: Table): string {
  const cell = (value: string | number): string => {
    const written = String(value);
    return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
  };
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function text(cell: string | number): string {
  return typeof cell === "number" ? number(cell) : cell;
}

/** Four significant digits, as the debugger writes numbers elsewhere. */
export function number(value: number): string {
  if (!Number.isFinite(value)) {
    return String(value);
  }
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}
