// Tokens and weights as they are written in the page. Knows no page.

import { unquoted } from "../shared/heatmap/labels";

/** As labels of the debugger are quoted. */
export function quoted(text: string): string {
  const written = JSON.stringify(text);
  return text.includes("'") ? written : `'${written.slice(1, -1).replaceAll('\\"', '"')}'`;
}

/** In running text; the end of a line is seen. */
export function inText(label: string): string {
  const text = unquoted(label).replaceAll("\t", "⇥").replaceAll("\n", "⏎");
  return text === "" ? "∅" : text;
}

export function weight(share: number): string {
  const percent = 100 * share;
  return `${percent >= 99.95 || percent === 0 ? percent.toFixed(0) : percent.toFixed(1)} %`;
}

/** With its sign. */
export function change(share: number): string {
  return `${share > 0 ? "+" : share < 0 ? "−" : ""}${weight(Math.abs(share))}`;
}
