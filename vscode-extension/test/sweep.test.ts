import assert from "node:assert/strict";
import { test } from "node:test";
import type { SweepResponseBody, Tile } from "../src/protocol/messages";
import {
  argumentsOf,
  editOf,
  ends,
  limitOf,
  measured,
  patchOf,
  problemOf,
  said,
  sweepTable,
  type Wish,
} from "../src/webviews/sweep/rows";

const WISH: Wish = { change: "patch", source: "The capital of Japan is", target: "", foil: "12" };

function tile(...values: number[]): Tile {
  return { shape: [2, 2], dtype: "float32", data: Buffer.from(Float32Array.of(...values).buffer).toString("base64") };
}

const BODY: SweepResponseBody = {
  step: 0,
  target: { id: 2, text: " Tokyo" },
  foil: { id: 1, text: " Paris" },
  rows: [
    { index: -1, path: "" },
    { index: 0, path: "model.layers.0" },
  ],
  columns: [
    { position: 4, token: { id: 3, text: " France" } },
    { position: 5, token: { id: 4, text: " is" } },
  ],
  base: { probability: 0.001, difference: -8 },
  source: { probability: 0.99, difference: 8 },
  probability: tile(0.98, 0.01, 0.5, 0.25),
  difference: tile(7, -8, 0, -1),
  kl: tile(5, 0, 1, 2),
  recovered: tile(0.9375, 0, 0.5, 0.4375),
};

test("a sweep is asked with what was typed, and tokens by number or text", () => {
  assert.deepEqual(argumentsOf(WISH, 7), { frameId: 7, change: "patch", source: WISH.source, foil: 12 });
  assert.deepEqual(argumentsOf({ ...WISH, change: "zero", target: " Tokyo", foil: "" }, 7), {
    frameId: 7,
    change: "zero",
    target: " Tokyo",
  });
  assert.ok(problemOf({ ...WISH, source: " " }));
  assert.equal(problemOf({ ...WISH, source: "", change: "mean" }), undefined);
});

test("what was found is told with its place", () => {
  const patch = patchOf(BODY, "probability");
  assert.ok(patch);
  assert.deepEqual(patch.rows.labels, ["embedding", "0"]);
  assert.equal(said(BODY, patch, "probability", 0, 0), 'into the first layer, position 4 " France": 98.0 %');
  assert.equal(ends(BODY), 'Step 0 · " Tokyo" against " Paris" · unchanged 0.1 %, with the other prompt 99.0 %');
  assert.equal(sweepTable(BODY, patch, "probability").rows[1]?.[0], "model.layers.0");
});

test("each measure has its own scale", () => {
  const limits = (["probability", "difference", "recovered", "kl"] as const).map((measure) => {
    const patch = patchOf(BODY, measure);
    assert.ok(patch);
    return limitOf(patch, measure);
  });
  assert.deepEqual(limits, [1, 8, 1, 5]);
  assert.equal(measured(0.9375, "recovered"), "93.8 %");
  assert.equal(measured(Number.NaN, "kl"), "not finite");
  const { recovered: _recovered, ...without } = BODY;
  assert.equal(patchOf(without, "recovered"), undefined);
});

test("a place becomes an edit", () => {
  assert.deepEqual(editOf(BODY, WISH, 1, 0), {
    target: { kind: "module", path: "model.layers.0", value: "output", positions: [4] },
    change: { kind: "patch", source: { prompt: WISH.source } },
    steps: { first: 0, last: 0 },
  });
  assert.deepEqual(editOf(BODY, { ...WISH, change: "zero" }, 0, 1), {
    target: { kind: "module", path: "model.layers.0", value: "input", positions: [5] },
    change: { kind: "zero" },
    steps: { first: 0, last: 0 },
  });
});
