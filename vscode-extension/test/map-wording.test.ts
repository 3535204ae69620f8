import assert from "node:assert/strict";
import { test } from "node:test";
import { inlineText, inlineWords, suggestions, VALUE_WIDTH, verdict } from "../src/editor/wording";

test("a value beside a line is short, and says what it is", () => {
  const token = { id: 7, text: " Paris" };
  assert.equal(inlineText({ path: "a", norm: 12.3456 }), "norm 12.3");
  assert.equal(inlineText({ path: "a", norm: 12.3456, isInput: true }), "input 12.3");
  assert.equal(inlineText({ path: "a", norm: 8, token, probability: 0.876 }), 'norm 8.00  → " Paris" 87.6 %');
  assert.equal(inlineText({ path: "sample", token, probability: 0.00001 }), '           → " Paris" < 0.1 %');
  assert.equal(inlineText({ path: "a", norm: 2.5e9 }), "norm 2.5e+9");
  const long = { path: "a", norm: 123.4, token: { id: 1, text: "internationalisation" }, probability: 0.00123 };
  assert.ok((inlineText(long)?.length ?? 99) <= VALUE_WIDTH, inlineText(long));
  assert.equal(inlineText({ path: "a" }), undefined); // such as a norm that is no number
});

test("in a sentence it says what the numbers are", () => {
  const token = { id: 7, text: " Paris" };
  assert.equal(
    inlineWords({ path: "a", norm: 8, token, probability: 0.5 }),
    'Length of what it gave, at the last position: 8.00. The logit lens reads here: " Paris" with 50.0 %.',
  );
  assert.equal(inlineWords({ path: "sample", token }), 'The chosen token: " Paris".');
});

test("what is wrong with a text keeps it from being set", () => {
  const wrong = verdict("norm > outpt", "condition", "", {
    diagnostics: [
      { start: 7, end: 12, message: "no name 'outpt' here" },
      { start: 0, end: 1, message: "another" },
    ],
  });
  assert.equal(wrong.does, "nothing");
  assert.equal(wrong.detail, "no name 'outpt' here (and 1 more)");
});

test("what is right can be set, and says when it stops", () => {
  const right = verdict("norm > 3", "condition", "", { diagnostics: [], phase: "before" });
  assert.deepEqual([right.does, right.description], ["set", "Enter sets it, stops before it runs"]);
  assert.equal(verdict("x", "condition", "", undefined).does, "set");
});

test("an empty text removes what was there", () => {
  assert.equal(verdict("", "hitCondition", "5", undefined).does, "set");
  assert.equal(verdict(" ", "hitCondition", "", undefined).does, "nothing");
});

test("a name that is chosen takes the place of what was typed of it", () => {
  const item = { label: "norm", kind: "number", start: 5, end: 7, detail: "norm: float", documentation: "its length" };
  const [row] = suggestions("3 >= no", [item, { label: "no", kind: "word", start: 5, end: 7 }]);
  assert.deepEqual(row?.does, { insert: "3 >= norm" });
  assert.equal(row?.description, ": float");
  assert.deepEqual(suggestions("", [{ label: "max", kind: "function", start: 0, end: 0 }])[0]?.does, {
    insert: "max(",
  });
});
