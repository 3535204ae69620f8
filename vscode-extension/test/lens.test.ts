import assert from "node:assert/strict";
import { test } from "node:test";
import type { GenerationResponseBody, LensCell, LensColumn } from "../src/protocol/messages";
import { joined, lensTable, measured, percent, placeOf, rangeOf, stretch, wanted } from "../src/webviews/lens/table";
import { csv } from "../src/webviews/shared/table";

const layers = [
  { index: -1, path: "" },
  { index: 0, path: "model.layers.0" },
];
const said = (probability: number, rank: number, norm: number): LensCell => ({
  top: [{ id: 1, text: " a", rank: 1, probability }],
  watched: [{ id: 2, text: " b", rank, probability: 0.25 }],
  norm,
  update: 0,
});
const column = (position: number): LensColumn => ({
  position,
  token: { id: 9, text: ` t${position}` },
  recomputed: position < 2,
  cells: [said(0.5, 100, 1), said(1, 1, 100)],
});
const table = { layers, columns: [column(0), column(1)] };

test("a cell is where its layer has run, in the step that chose what follows", () => {
  const where = { promptLength: 6, step: 3 } as GenerationResponseBody;
  assert.deepEqual(placeOf(layers, layers[1] as (typeof layers)[0], 7, where), {
    step: 2,
    path: "model.layers.0",
    phase: "after",
  });
  assert.deepEqual(placeOf(layers, layers[0] as (typeof layers)[0], 1, where), {
    step: 0,
    path: "model.layers.0",
    phase: "before",
  });
});

test("probabilities keep their range; ranks and norms go by their logarithm", () => {
  const cell = table.columns[0]?.cells[0];
  assert.deepEqual(
    ["probability", "watched", "rank", "norm", "update"].map((each) => measured(cell, each as "norm", 0)),
    [0.5, 0.25, 100, 1, 0],
  );
  assert.equal(rangeOf(table, "probability", 0).share(0.5), 0.5);
  const rank = rangeOf(table, "rank", 0);
  assert.deepEqual([rank.low, rank.high, rank.share(1), rank.share(10), rank.share(100)], [100, 1, 1, 0.5, 0]);
  assert.equal(rangeOf(table, "norm", 0).share(100), 1);
  assert.ok(Number.isFinite(rangeOf(table, "update", 0).share(0)));
});

test("positions come in stretches, those of both answers stand in their order", () => {
  assert.deepEqual(stretch(5, 3), [2, 3, 4]);
  assert.deepEqual(stretch(2, 24), [0, 1]);
  const positions = (most: number, one: number[], other: number[]): (number | undefined)[] =>
    joined({ layers, columns: one.map(column) }, { layers, columns: other.map(column) }, most).columns.map(
      ({ position }) => position,
    );
  assert.deepEqual(positions(10, [3, 4], [1, 2]), [1, 2, 3, 4]);
  assert.deepEqual(positions(3, [3, 4], [1, 2]), [1, 2, 3]);
  assert.deepEqual(positions(3, [1, 2], [3, 4]), [2, 3, 4]);
});

test("the table is a file too", () => {
  const [, first] = csv(lensTable(table)).split("\r\n");
  assert.equal(first, "0, t0,input,, a,0.5,1,0,, b 100 0.25,yes");
});

test("digits are an id unless they are quoted", () => {
  assert.deepEqual([wanted("17"), wanted("'17'"), wanted(" Paris")], [17, "'17'", " Paris"]);
});

test("probabilities are read at a glance", () => {
  assert.deepEqual([1, 0.5, 0.0123, 1e-9, undefined].map(percent), ["100 %", "50.0 %", "1.2 %", "< 0.001 %", "–"]);
});
