import assert from "node:assert/strict";
import { test } from "node:test";
import { namesBefore, shortValue } from "../src/editor/pythonNames";

const PROGRAM = `import torch
PROMPTS = ["a", 'b'] # names
def answer(model, prompt):
    ids = encode(prompt).input_ids
    if not ids:

        return None
    out = model.generate(ids, max_new_tokens=5)
    return out

for prompt in PROMPTS:
    print(prompt, answer(None, f"{prompt}"))
`.split("\n");

function shown(at: number, from?: number): string[] {
  return namesBefore(PROGRAM, at, from).map(({ name, line }) => `${line}:${name}`);
}

test("in a function the names of its lines are shown, down to the one that is next", () => {
  assert.deepEqual(shown(7), [
    "2:model",
    "2:prompt",
    "3:ids",
    "3:prompt",
    "4:ids",
    "7:out",
    "7:model",
    "7:ids",
    "7:max_new_tokens",
  ]);
});

test("no attributes, calls, keywords, texts or comments", () => {
  assert.deepEqual(shown(1), ["0:torch", "1:PROMPTS"]);
  assert.deepEqual(shown(11, 10), ["10:prompt", "10:PROMPTS", "11:prompt"]);
});

test("a name stands where it is written", () => {
  const [first] = namesBefore(PROGRAM, 3, 3);
  assert.deepEqual(first, { name: "ids", line: 3, start: 4 });
});

test("a line beyond the end of the file is no error", () => {
  assert.doesNotThrow(() => namesBefore(PROGRAM, 99));
});

test("a value is short, and what is the same at every stop is none", () => {
  assert.equal(shortValue("int64 [1, 6] cpu"), "int64 [1, 6] cpu");
  assert.equal(shortValue(`'${"a".repeat(80)}'`)?.length, 40);
  assert.equal(shortValue("a\n b"), "a b");
  assert.equal(shortValue("<function load at 0x1>"), undefined);
  assert.equal(shortValue(undefined), undefined);
});
