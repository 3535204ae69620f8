// What a sweep asks and what it found: a number for every layer and position. Knows no page.

import type { EditSpec, SweepArguments, SweepResponseBody } from "../../protocol/messages";
import { type Patch, valueAt } from "../shared/heatmap/patch";
import { number, type Table } from "../shared/table";
import { percent } from "../shared/text";
import { tileValues } from "../shared/tiles";

export type Measure = "probability" | "difference" | "recovered" | "kl";

export const MEASURES: Record<Measure, string> = {
  probability: "probability of the target",
  difference: "logit of target − foil",
  recovered: "share recovered",
  kl: "KL from the unchanged run",
};

export interface Wish {
  change: NonNullable<SweepArguments["change"]>;
  source: string;
  target: string;
  foil: string;
}

/** In words why it cannot be asked. */
export function problemOf({ change, source }: Wish): string | undefined {
  return change === "patch" && source.trim() === ""
    ? "Type the prompt whose values are to take the place of this one's."
    : undefined;
}

export function argumentsOf({ change, source, target, foil }: Wish, frameId: number): SweepArguments {
  const token = (text: string): string | number => (/^\d+$/.test(text) ? Number(text) : text);
  return {
    frameId,
    change,
    ...(change === "patch" && { source }),
    ...(target !== "" && { target: token(target) }),
    ...(foil !== "" && { foil: token(foil) }),
  };
}

/** Undefined where there is no such number, as of what a patch alone can recover. */
export function patchOf(body: SweepResponseBody, measure: Measure): Patch | undefined {
  const tile = body[measure];
  return (
    tile && {
      rows: { start: 0, end: body.rows.length, block: 1, labels: body.rows.map(rowLabel) },
      columns: {
        start: 0,
        end: body.columns.length,
        block: 1,
        labels: body.columns.map(({ token }) => JSON.stringify(token.text)),
      },
      values: tileValues(tile),
    }
  );
}

function rowLabel({ index, path }: SweepResponseBody["rows"][number]): string {
  return path === "" ? "embedding" : String(index);
}

/** What stands for the strong end of the colours. */
export function limitOf(patch: Patch, measure: Measure): number {
  if (measure === "probability") {
    return 1;
  }
  const most = patch.values.reduce(
    (most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most),
    0,
  );
  return measure === "recovered" ? Math.max(1, most) : most || 1;
}

export function measured(value: number | undefined, measure: Measure): string {
  if (value === undefined || Number.isNaN(value)) {
    return "not finite";
  }
  switch (measure) {
    case "probability":
      return value === 0 ? "0 %" : percent(value);
    case "recovered":
      return `${(100 * value).toFixed(1)} %`;
    case "kl":
      return `${number(value)} nats`;
    case "difference":
      return number(value);
  }
}

/** `behind model.layers.3, position 4 " France": 91.2 %`. */
export function said(body: SweepResponseBody, patch: Patch, measure: Measure, row: number, column: number): string {
  return `${place(body, row, column)}: ${measured(valueAt(patch, row, column), measure)}`;
}

export function place(body: SweepResponseBody, row: number, column: number): string {
  const [line, at] = [body.rows[row], body.columns[column]];
  const where = line?.path ? `behind ${line.path}` : "into the first layer";
  return `${where}, position ${at?.position} ${JSON.stringify(at?.token.text)}`;
}

/** What the unchanged run, and that of the other text, say of the target. */
export function ends(body: SweepResponseBody): string {
  const [target, foil] = [body.target, body.foil].map(({ text }) => JSON.stringify(text));
  const of = (saying: SweepResponseBody["base"]): string =>
    saying.probability === undefined ? "not finite" : percent(saying.probability);
  const source = body.source ? `, with the other prompt ${of(body.source)}` : "";
  return `Step ${body.step} · ${target} against ${foil} · unchanged ${of(body.base)}${source}`;
}

/** The change of one cell as an edit. */
export function editOf(body: SweepResponseBody, wish: Wish, row: number, column: number): EditSpec | undefined {
  const [line, at] = [body.rows[row], body.columns[column]];
  const first = body.rows.find(({ path }) => path !== "")?.path;
  const path = line?.path || first;
  if (line === undefined || at === undefined || path === undefined) {
    return undefined;
  }
  const change: EditSpec["change"] =
    wish.change === "patch" ? { kind: "patch", source: { prompt: wish.source } } : { kind: wish.change };
  return {
    target: { kind: "module", path, value: line.path === "" ? "input" : "output", positions: [at.position] },
    change,
    steps: { first: body.step, last: body.step },
  };
}

export function sweepTable(body: SweepResponseBody, patch: Patch, measure: Measure): Table {
  return {
    caption: `${MEASURES[measure]}, ${JSON.stringify(body.target.text)} against ${JSON.stringify(body.foil.text)}`,
    columns: ["changed", ...body.columns.map(({ position, token }) => `${position} ${JSON.stringify(token.text)}`)],
    rows: body.rows.map(({ path }, row) => [
      path || "embedding",
      ...body.columns.map((_, column) => valueAt(patch, row, column) ?? ""),
    ]),
  };
}
