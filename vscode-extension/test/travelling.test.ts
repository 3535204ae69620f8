import assert from "node:assert/strict";
import { test } from "node:test";
import { destination } from "../src/panels/travelling";
import { type Place, Traveller } from "../src/webviews/shared/travelling";

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

test("one wish at a time leaves, when the run stands, and only the last one counts", async () => {
  const gone: Place[] = [];
  const traveller = new Traveller(async (place) => void gone.push(place), assert.fail);
  traveller.to({ step: 1 });
  assert.deepEqual(gone, []);
  traveller.stopped();
  traveller.to({ step: 2 });
  traveller.to({ step: 3 });
  assert.deepEqual(gone, [{ step: 1 }]);
  traveller.stopped();
  assert.deepEqual(gone, [{ step: 1 }, { step: 3 }]);
});

test("where there is no way the run still stands, and the reason is told", async () => {
  const said: string[] = [];
  const traveller = new Traveller(
    () => Promise.reject(new Error("no way")),
    (message) => said.push(message),
  );
  traveller.stopped();
  traveller.to({ step: 1 });
  await new Promise(setImmediate);
  traveller.to({ step: 2 });
  await new Promise(setImmediate);
  assert.deepEqual(said, ["no way", "no way"]);
});
