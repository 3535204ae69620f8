// A long table that is made when somebody opens it.

import { fill, h } from "./dom";
import { type Table, tableElement } from "./table";

const MOST = 1000;

/** `update` makes it anew if it is open. Of a very long table the part around row `near` is shown. */
export function tableOnDemand(table: () => Table, near: () => number): { element: HTMLElement; update(): void } {
  const body = h("div", { class: "on-demand" });
  const element = h("details", { ontoggle: () => update() }, h("summary", {}, "As a table"), body);
  const update = (): void => {
    if (!element.open) {
      fill(body);
      return;
    }
    const whole = table();
    const first = Math.max(0, Math.min(near() - MOST / 2, whole.rows.length - MOST));
    const rows = whole.rows.slice(first, first + MOST);
    const isPart = rows.length < whole.rows.length;
    const caption = `${whole.caption}${isPart ? `: ${MOST} of ${whole.rows.length} rows, the CSV has all` : ""}`;
    fill(body, tableElement({ ...whole, caption, rows }));
  };
  return { element, update };
}
