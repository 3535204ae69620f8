import assert from "node:assert/strict";
import { test } from "node:test";
import { destination } from "../src/panels/travelling";

test("a page may name a place, and nothing else gets through", () => {
  const place = { step: 2, path: "model.layers.1", phase: "after" };
  assert.deepEqual(destination({ ...place, other: 1 }), place);
  assert.deepEqual(destination({ step: 0 }), { step: 0 });
  for (const wrong of [undefined, null, 3, {}, { step: -1 }, { step: 1.5 }, { step: "1" }]) {
    assert.equal(destination(wrong), undefined);
  }
  assert.equal(destination({ step: 1, path: 5 }), undefined);
  assert.equal(destination({ step: 1, phase: "during" }), undefined);
});
