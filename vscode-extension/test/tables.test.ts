import assert from "node:assert/strict";
import { test } from "node:test";
import type { SamplingResponseBody, SamplingStage, Tile } from "../src/protocol/messages";
import { candidates, percent, stages } from "../src/webviews/sampling/rows";
import { csv, number } from "../src/webviews/shared/table";
import { half, tileValues } from "../src/webviews/shared/tiles";

test("a table is quoted where it has to be", () => {
  const table = {
    caption: "",
    columns: ["token", "p"],
    rows: [
      [' "a",\n', 0.5],
      ["b", 1],
    ],
  };
  assert.equal(csv(table), 'token,p\r\n" ""a"",\n",0.5\r\nb,1\r\n');
});

test("numbers have four digits, whole ones all of theirs", () => {
  assert.deepEqual([number(0.123456), number(12345), number(Number.NaN)], ["0.1235", "12345", "NaN"]);
});

test("float16 is read as it is defined", () => {
  const bits = [0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x3555];
  const values = [0, -0, 1, -2, 65504, 2 ** -14, 2 ** -24, 0.333251953125];
  assert.deepEqual(bits.map(half), values);
  assert.ok(
    half(0x7c00) === Number.POSITIVE_INFINITY &&
      half(0xfc00) === Number.NEGATIVE_INFINITY &&
      Number.isNaN(half(0x7e00)),
  );
});

test("tiles of every number format are read", () => {
  const tile = (dtype: Tile["dtype"], bytes: ArrayBufferView, scale?: number): Tile => {
    const data = Buffer.from(bytes.buffer).toString("base64");
    return { shape: [1, 2], dtype, data, ...(scale !== undefined && { scale }) };
  };
  assert.deepEqual([...tileValues(tile("float32", new Float32Array([0.5, -3])))], [0.5, -3]);
  assert.deepEqual([...tileValues(tile("float16", new Uint16Array([0x3c00, 0x7e00]), 2))], [2, Number.NaN]);
  assert.deepEqual([...tileValues(tile("uint8", new Uint8Array([127, 255]), 1 / 254))], [0.5, Number.NaN]);
});

test("the choice of a token is a table too", () => {
  const paris = { id: 5, text: " Paris", probability: 0.9, score: 11.5 };
  const stage: SamplingStage = {
    name: "logits",
    kind: "logits",
    occurrence: 0,
    tokens: 2048,
    top: [paris],
    chosen: paris,
    rank: 1,
  };
  const body: SamplingResponseBody = {
    step: 0,
    sequence: 0,
    token: paris,
    isChosen: true,
    draw: "greedy",
    pruned: 0,
    stages: [stage],
  };
  assert.deepEqual(candidates(body).rows, [[" Paris", 5, 0.9, 11.5]]);
  assert.deepEqual(stages(body).rows, [["logits", 2048, 0, "", 1]]);
  assert.equal(percent(0.12345), "12.3 %");
});
