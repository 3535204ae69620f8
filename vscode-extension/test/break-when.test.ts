import assert from "node:assert/strict";
import { test } from "node:test";
import { breakWhen } from "../src/editor/breakWhenText";

const TENSOR = "float32 [1, 6, 192] cpu · -0.1776 ± 8.03 in [-25.01, 27.41]";
const AFTER = { path: "model.layers.2", phase: "after", firstInput: "hidden_states" } as const;
const BEFORE = { ...AFTER, phase: "before" } as const;
const row = (name: string, value: string, evaluateName?: string, type = "Tensor") => ({
  name,
  value,
  type,
  variablesReference: 0,
  ...(evaluateName && { evaluateName }),
});

test("an output is compared with the largest that it has now", () => {
  assert.deepEqual(breakWhen({ variable: row("output", TENSOR, "output"), container: { name: "Output" } }, AFTER), {
    place: "after:model.layers.2",
    condition: "output.abs().max() > 27.4",
  });
  const part = { variable: row("[3]", "0.123456", "output[0, 1, 3]", "float"), container: { name: "[1]" } };
  assert.deepEqual(breakWhen(part, AFTER), {
    place: "after:model.layers.2",
    condition: "output[0, 1, 3] > 0.123",
  });
});

test("of a tuple the first tensor is the output", () => {
  const container = { name: "output", type: "tuple", evaluateName: "output" };
  const first = breakWhen({ variable: row("[0]", TENSOR, "output[0]"), container }, AFTER);
  assert.equal(typeof first === "string" ? first : first.condition, "output.abs().max() > 27.4");
  assert.match(String(breakWhen({ variable: row("[1]", "None", "output[1]"), container }, AFTER)), /has no name/);
});

test("the first tensor of the inputs is the input, and another one has no name", () => {
  const of = (name: string) => ({ variable: row(name, TENSOR, name), container: { name: "Inputs" } });
  assert.deepEqual(breakWhen(of("hidden_states"), BEFORE), {
    place: "model.layers.2",
    condition: "input.abs().max() > 27.4",
  });
  assert.match(String(breakWhen(of("position_ids"), BEFORE)), /position_ids has no name in the language/);
});

test("the choice of a token has names of its own", () => {
  const wish = (name: string, value: string) =>
    breakWhen({ variable: row(name, value), container: { name: "Sampling" } }, { path: "sample", phase: "after" });
  assert.deepEqual(wish("probability", "0.999951605"), { place: "after:sample", condition: "prob < 0.5" });
  assert.deepEqual(wish("entropy", "0.000673071728"), { place: "after:sample", condition: "entropy > 0.000673" });
  assert.deepEqual(wish("token", "' Paris'"), { place: "after:sample", condition: "text == ' Paris'" });
  assert.deepEqual(wish("id", "1472"), { place: "after:sample", condition: "token == 1472" });
  assert.match(String(wish("draw", "greedy")), /draw has no name/);
});

test("heads, what was stepped over, and Python frames", () => {
  const head = { variable: row("head 3", "sink"), container: { name: "Attention" } };
  assert.deepEqual(breakWhen(head, BEFORE), {
    place: "after:model.layers.2",
    condition: "attention(3).max() > 0.9",
  });
  const returned = { variable: row("model.layers.1", TENSOR), container: { name: "Returned" } };
  assert.deepEqual(breakWhen(returned, BEFORE), {
    place: "after:model.layers.1",
    condition: "output.abs().max() > 27.4",
  });
  const local = { variable: row("x", TENSOR, "x"), container: { name: "Locals" } };
  assert.match(String(breakWhen(local, { path: undefined, phase: "before" })), /Python frame/);
  const weight = { variable: row("weight", TENSOR, "self.weight"), container: { name: "Parameters" } };
  assert.match(String(breakWhen(weight, BEFORE)), /weight has no name/);
});
