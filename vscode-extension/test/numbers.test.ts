import assert from "node:assert/strict";
import { test } from "node:test";
import { Numbers } from "../src/debug/numbers";

test("requests with one command get their numbers in order", async () => {
  const numbers = new Numbers();
  const [first, second, other] = [numbers.expect("llm/lens"), numbers.expect("llm/lens"), numbers.expect("llm/tensor")];
  numbers.sent("stackTrace", 7);
  numbers.sent("llm/tensor", 8);
  numbers.sent("llm/lens", 9);
  numbers.sent("llm/lens", 10);
  numbers.sent("llm/lens", 11);
  assert.deepEqual(await Promise.all([first, second, other]), [9, 10, 8]);
});
