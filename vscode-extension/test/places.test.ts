import assert from "node:assert/strict";
import { test } from "node:test";
import { destination, type Standing } from "../src/debug/places";

const LAYERS = ["model.layers.0", "model.layers.1"];

function at(step: number, path: string, layer?: number, more: Partial<Standing> = {}): Standing {
  return { step, path, phase: "before", layers: LAYERS, ...(layer !== undefined && { layer }), ...more };
}

test("the next and the previous token are the same place, a step on or back", () => {
  const there = at(2, "model.layers.1.mlp", 1, { phase: "after" });
  assert.deepEqual(destination("nextToken", there), { step: 3, path: "model.layers.1.mlp", phase: "after" });
  assert.deepEqual(destination("previousToken", there), { step: 1, path: "model.layers.1.mlp", phase: "after" });
  assert.deepEqual(destination("nextToken", at(2, "step")), { step: 3 });
});

test("there is no token before the first one, and none behind the end", () => {
  assert.match(String(destination("previousToken", at(0, "model"))), /first step/);
  assert.match(String(destination("nextToken", at(5, "end"))), /over/);
  assert.match(String(destination("nextLayer", at(5, "end"))), /over/);
  assert.deepEqual(destination("previousToken", at(5, "end")), { step: 4 });
});

test("the next layer is in this step, and behind the last one in the next step", () => {
  assert.deepEqual(destination("nextLayer", at(0, "model.embed_tokens")), { step: 0, path: "model.layers.0" });
  assert.deepEqual(destination("nextLayer", at(0, "model.layers.0.mlp", 0)), { step: 0, path: "model.layers.1" });
  assert.deepEqual(destination("nextLayer", at(0, "lm_head", 1)), { step: 1, path: "model.layers.0" });
  assert.deepEqual(destination("nextLayer", at(0, "sample", undefined, { isSelecting: true })), {
    step: 1,
    path: "model.layers.0",
  });
});

test("an encoder has no layers behind the first token", () => {
  const layers = ["encoder.block.0", "encoder.block.1", "decoder.block.0", "decoder.block.1"];
  const over = { ...at(0, "lm_head", 3), layers };
  assert.deepEqual(destination("nextLayer", over), { step: 1, path: "decoder.block.0" });
  assert.deepEqual(destination("nextLayer", { ...at(0, "step"), layers }), { step: 0, path: "encoder.block.0" });
});
