import assert from "node:assert/strict";
import { test } from "node:test";
import type { TensorResponseBody } from "../src/protocol/messages";
import {
  choiceOf,
  fitted,
  limitOf,
  pageTable,
  patchOf,
  said,
  slicesOf,
  spoken,
  withAxis,
} from "../src/webviews/tensor/page";
import { again, here, sourceOf } from "../src/webviews/tensor/source";

const body: TensorResponseBody = {
  shape: [4, 2, 3],
  dtype: "float32",
  device: "cpu",
  axes: [
    { name: "batch", size: 4, index: 1 },
    { name: "position", size: 2, start: 0, end: 2, labels: ["'a'", "' b'"] },
    { name: "feature", size: 3, start: 0, end: 3 },
  ],
  tile: {
    shape: [2, 3],
    dtype: "float32",
    data: Buffer.from(new Float32Array([1, 2, 3, 4, 5, Number.NaN]).buffer).toString("base64"),
  },
};

test("the page is what the debugger chose, until somebody chooses others", () => {
  const choice = choiceOf(body.axes);
  assert.deepEqual(choice, { rows: 1, columns: 2, index: [1, 0, 0] });
  assert.deepEqual(slicesOf(choice), [1, null, null]);
  assert.deepEqual(withAxis(choice, "rows", 2), { rows: 2, columns: 1, index: [1, 0, 0] });
  assert.deepEqual(withAxis(choice, "rows", 0), { rows: 0, columns: 2, index: [1, 0, 0] });
  const part = { rows: { start: 0, end: 1 }, columns: { start: 1, end: 3 } };
  assert.deepEqual(slicesOf(choice, part), [1, [0, 1], [1, 3]]);
  assert.equal(fitted(choice, body.axes.slice(1)), undefined);
  assert.deepEqual(fitted({ ...choice, index: [9, 0, 0] }, body.axes)?.index, [3, 0, 0]);
});

test("a page is turned over where its axes are", () => {
  const straight = patchOf(body, { rows: 1, columns: 2, index: [1, 0, 0] });
  assert.deepEqual([...straight.values], [1, 2, 3, 4, 5, Number.NaN]);
  const turned = patchOf(body, { rows: 2, columns: 1, index: [1, 0, 0] });
  assert.deepEqual([...turned.values], [1, 4, 2, 5, 3, Number.NaN]);
  assert.deepEqual([turned.rows.end, turned.columns.labels], [3, ["'a'", "' b'"]]);
  assert.equal(spoken(body.axes[1], straight.rows, 1), "position 1 ' b'");
  assert.equal(spoken(body.axes[2], { ...straight.columns, block: 2 }, 2), "feature 2 to 2");
});

test("numbers that are not finite are named", () => {
  assert.deepEqual([Number.NaN, Infinity, -Infinity, 0.123456].map(said), ["NaN", "+∞", "−∞", "0.1235"]);
});

test("the table says when it is a part", () => {
  const patch = patchOf(body, choiceOf(body.axes));
  const table = pageTable(patch, "x", { start: 1, end: 2 });
  assert.deepEqual(table.rows, [["0 'a'", 1, 2]]);
  assert.match(table.caption, /the first 1 rows and 2 columns/);
});

test("colours end at the quantiles, or where there are none at the largest number", () => {
  const statistics = { mean: 0, std: 1, min: -8, max: 4, norm: 1, zeros: 0, nan: 0, positiveInf: 0, negativeInf: 0 };
  const distribution = { percents: [1, 99], quantiles: [-2, 1], edges: [], counts: [], farthest: [] };
  assert.equal(limitOf({ ...body, statistics, distribution }, "most"), 2);
  assert.equal(limitOf({ ...body, statistics, distribution }, "all"), 8);
  assert.equal(limitOf({ ...body, statistics, distribution: { ...distribution, quantiles: [0, 0] } }, "most"), 8);
});

test("a variable is found by its reference, then by its expression, then by its name in its scope", async () => {
  const named = sourceOf({ container: { name: "Inputs" }, variable: { name: "x", variablesReference: 7 } });
  assert.ok(named);
  assert.deepEqual(here(named, 1), { variablesReference: 7 });
  const asked = async (command: string): Promise<never> =>
    (command === "scopes"
      ? { scopes: [{ name: "Inputs", variablesReference: 3, expensive: false }] }
      : { variables: [{ name: "x", value: "", variablesReference: 9 }] }) as never;
  assert.deepEqual(await again(named, 2, asked), { variablesReference: 9 });
  assert.equal(await again({ ...named, container: "[0]" }, 2, asked), undefined);
  const evaluated = sourceOf({
    container: {},
    variable: { name: "x", evaluateName: "inputs.x", variablesReference: 7 },
  });
  assert.ok(evaluated);
  assert.deepEqual(await again(evaluated, 2, asked), { expression: "inputs.x", frameId: 2 });
  assert.deepEqual(sourceOf({ expression: "h[0]" }), { name: "h[0]", expression: "h[0]" });
  assert.equal(sourceOf(undefined), undefined);
});
