import assert from "node:assert/strict";
import { test } from "node:test";
import { columnOf, isSelection, phaseAt, placeOn } from "../src/editor/lines";

const LAYER = "      model.layers.0      LlamaDecoderLayer  (B, T, 192) → (B, T, 192)";

test("a line tells its place, whatever stands behind it", () => {
  assert.deepEqual(placeOn(LAYER), { written: "model.layers.0", start: 6, end: 20 });
  assert.deepEqual(placeOn("."), { written: ".", start: 0, end: 1 });
  assert.deepEqual(placeOn("lm_head\tLinear"), { written: "lm_head", start: 0, end: 7 });
  assert.deepEqual(placeOn("  a%20b # mine"), { written: "a%20b", start: 2, end: 7 });
});

test("a comment, an empty line and a sentence are no places", () => {
  for (const line of ["# path   class", "   # mine", "", "   ", "two words stand here"]) {
    assert.equal(placeOn(line), undefined, line);
  }
});

test("token selection is no module", () => {
  assert.ok(isSelection("step    one forward pass") && isSelection("TemperatureLogitsWarper") && isSelection("sample"));
  assert.ok(!isSelection(LAYER) && !isSelection("  sampler   Linear") && !isSelection("."));
});

test("a breakpoint at the end of a line stops after it, one anywhere else where its texts say", () => {
  assert.equal(phaseAt(LAYER, columnOf(LAYER, "before")), undefined);
  assert.equal(phaseAt(LAYER, 6), undefined);
  assert.equal(phaseAt(LAYER, columnOf(LAYER, "after")), "after");
  assert.equal(phaseAt("# comment", 9), undefined);
});
