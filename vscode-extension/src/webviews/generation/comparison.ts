// Two branches side by side: their tokens from the fork on, and how far they are apart. Knows no page.

import type { CompareBranchesResponseBody, ComparedStep } from "../../protocol/messages";
import { type Patch, valueAt } from "../shared/heatmap/patch";
import { number, type Table } from "../shared/table";
import { percent } from "../shared/text";
import { tileValues } from "../shared/tiles";

/** In a sentence: where they part. */
export function summary({ fork, divergence, steps }: CompareBranchesResponseBody): string {
  if (fork === undefined) {
    return "They are the same in every step that both have done.";
  }
  const parted = steps.find(({ step }) => step === divergence);
  if (parted?.a === undefined || parted.b === undefined) {
    return `They are run differently from step ${fork} on, and have chosen the same tokens so far.`;
  }
  const [a, b] = [parted.a, parted.b].map(
    ({ text, probability }) =>
      `${JSON.stringify(text)}${probability === undefined ? "" : ` (${percent(probability)})`}`,
  );
  return `The first token that differs is that of step ${parted.step}: ${a} and ${b}.`;
}

/** Steps × what each branch chose, with the distance of the model's own distributions. */
export function stepTable(body: CompareBranchesResponseBody, names: readonly [string, string]): Table {
  const [a, b] = names;
  return {
    caption: "Steps from the fork on, and KL of the model's own distributions",
    columns: ["step", a, "chosen at", b, "chosen at", "KL (nats)"],
    rows: body.steps.map((row) => [row.step, ...chosen(row.a), ...chosen(row.b), divergence(row)]),
  };
}

function divergence({ logits: { kl, same } }: ComparedStep): string {
  if (same || kl === undefined) {
    return same ? "0" : "∞";
  }
  return kl > 0 && kl < 1e-4 ? "< 0.0001" : kl.toPrecision(3);
}

function chosen(token: ComparedStep["a"]): [string, string] {
  return token === undefined
    ? ["", ""]
    : [JSON.stringify(token.text), token.probability === undefined ? "" : percent(token.probability)];
}

/** Layers × positions, with the text of one of the branches; undefined where it cannot be told. */
export function movementPatch(
  { movement, layers, positions }: CompareBranchesResponseBody,
  textAt: (position: number) => string | undefined,
): Patch | undefined {
  if (movement === undefined || layers.length === 0 || positions.length === 0) {
    return undefined;
  }
  const [down = 1, across = 1] = movement.blocks ?? [];
  const columns = positions.map(({ position, differs }) =>
    JSON.stringify(`${differs ? "≠" : ""}${textAt(position) ?? position}`),
  );
  return {
    rows: { start: 0, end: layers.length, block: down, labels: down === 1 ? layers.map(layerLabel) : [] },
    columns: { start: 0, end: positions.length, block: across, labels: across === 1 ? columns : [] },
    values: tileValues(movement),
  };
}

export function layerLabel(path: string): string {
  return path === "" ? "embedding" : (/\d+(?=\D*$)/.exec(path)?.[0] ?? path);
}

/** `behind model.layers.3, at position 7: 12.5 % apart`. */
export function said(body: CompareBranchesResponseBody, patch: Patch, row: number, column: number): string {
  const value = valueAt(patch, row, column);
  const { position, differs } = body.positions[column] ?? { position: column, differs: false };
  const where = body.layers[row] === "" ? "into the first layer" : `behind ${body.layers[row]}`;
  const amount = value === undefined || Number.isNaN(value) ? "not known" : `${number(value)} of the norm apart`;
  return `${where}, position ${position}${differs ? " (another token)" : ""}: ${amount}`;
}

/** As long as the largest of them, at least a little. */
export function largest({ values }: Patch): number {
  return values.reduce((most, value) => (value > most ? value : most), 1e-6);
}

export function movementTable(body: CompareBranchesResponseBody, patch: Patch): Table {
  return {
    caption: "How far the residual stream is apart, relative to its norm",
    columns: ["behind", ...body.positions.map(({ position }) => String(position))],
    rows: body.layers.map((path, row) => [
      path || "embedding",
      ...body.positions.map((_, column) => valueAt(patch, row, column) ?? ""),
    ]),
  };
}
