import assert from "node:assert/strict";
import { test } from "node:test";
import { factorProblem, headOf, headsProblem, readHeads, targetOfData, targetOfOutput } from "../src/editing/meaning";

const row = (name: string, evaluateName?: string) => ({ name, value: "", ...(evaluateName && { evaluateName }) });

test("what the debugger can watch is a target of an edit", () => {
  const targets = [
    ["activation:model.layers.1", { kind: "module", path: "model.layers.1", value: "output" }],
    ["activation:model.layers.1[0, 3]", { kind: "module", path: "model.layers.1", value: "output", index: "[0, 3]" }],
    ["input:model.layers.1", { kind: "module", path: "model.layers.1", value: "input" }],
    ["parameter:model.norm.weight[3]", { kind: "parameter", name: "model.norm.weight", index: "[3]" }],
    ["cache:2.keys[0, :, 4]", { kind: "cache", name: "2.keys", index: "[0, :, 4]" }],
    ["probability:' Paris'", undefined],
    ["something else", undefined],
  ] as const;
  for (const [dataId, target] of targets) {
    assert.deepEqual(targetOfData(dataId), target, dataId);
  }
});

test("so is what a module that is over has returned", () => {
  const container = { name: "Output" };
  const target = { kind: "module", path: "model.layers.1", value: "output" };
  assert.deepEqual(targetOfOutput({ variable: row("output", "output"), container }, "model.layers.1"), target);
  assert.deepEqual(targetOfOutput({ variable: row("[0]", "output[0]"), container }, "model.layers.1"), {
    ...target,
    index: "[0]",
  });
  assert.equal(targetOfOutput({ variable: row("x", "outputs"), container }, "model.layers.1"), undefined);
  assert.equal(targetOfOutput({ variable: row("output", "output"), container }, undefined), undefined);
});

test("a head is known by its row, and its module where several are listed", () => {
  assert.deepEqual(headOf({ variable: row("head 3"), container: { name: "Attention" } }), { head: 3 });
  assert.deepEqual(headOf({ variable: row("head 3"), container: { name: "model.layers.1.self_attn (call 2)" } }), {
    head: 3,
    path: "model.layers.1.self_attn",
  });
  assert.equal(headOf({ variable: row("call"), container: { name: "Attention" } }), undefined);
});

test("what is typed is checked", () => {
  assert.deepEqual(["2", "-0.5", "1e-3"].map(factorProblem), [undefined, undefined, undefined]);
  assert.ok(["", "two", "NaN", "1e999", "2x"].every((text) => factorProblem(text) !== undefined));
  assert.deepEqual(readHeads("0, 2,2"), [0, 2]);
  assert.ok(["", "a", "1,", "-1", "1.5"].every((text) => headsProblem(text) !== undefined));
});
