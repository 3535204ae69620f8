// What a panel shows, as a file: PNG of a canvas, SVG of a drawing, CSV of a table.

import { h } from "./dom";
import { save } from "./host";
import { csv, type Table } from "./table";

export interface Exports {
  /** Name of the files, without their ending. */
  name: string;
  table?: () => Table;
  canvas?: () => HTMLCanvasElement;
  drawing?: () => SVGSVGElement;
}

/** A button for every kind of file that there is. */
export function exportButtons({ name, table, canvas, drawing }: Exports): HTMLElement {
  const buttons: HTMLElement[] = [];
  const add = (kind: string, make: () => Promise<Blob>): void => {
    const onclick = async (): Promise<void> => save(`${name}.${kind.toLowerCase()}`, await make());
    buttons.push(h("button", { class: "quiet", title: `Save as ${kind}`, onclick: () => void onclick() }, kind));
  };
  if (canvas) {
    add("PNG", async () => png(canvas()));
  }
  if (drawing) {
    add("SVG", async () => svg(drawing()));
  }
  if (table) {
    add("CSV", async () => new Blob([csv(table())], { type: "text/csv" }));
  }
  return h("div", { class: "exports", role: "group", "aria-label": "Export" }, ...buttons);
}

function png(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is empty"))), "image/png");
  });
}

function svg(drawing: SVGSVGElement): Blob {
  return new Blob([new XMLSerializer().serializeToString(drawing)], { type: "image/svg+xml" });
}
