import assert from "node:assert/strict";
import { test } from "node:test";
import { ToldFrames } from "../src/debug/toldFrames";
import { count, described, ModuleTree } from "../src/views/moduleTree";
import { statusText } from "../src/views/statusText";

const module = (id: string, more = {}) => ({ id, name: id, type: "Linear", dtype: "bfloat16", device: "cpu", ...more });

test("modules that come in pages become a tree", () => {
  const tree = new ModuleTree();
  tree.add([module(".", { name: "Model" }), module("layers"), module("layers.0")]);
  tree.add([module("layers.0.mlp"), module("layers.1"), module("head")]);
  const labels = (path: string) => tree.get(path)?.children.map(({ label }) => label);
  assert.deepEqual(labels(""), ["layers", "head"]);
  assert.deepEqual(labels("layers"), ["0", "1"]);
  assert.equal(tree.get("layers.0.mlp")?.parent?.path, "layers.0");
  assert.equal(tree.root?.label, "Model");
});

test("ten thousand modules take no time", () => {
  const tree = new ModuleTree();
  const begun = performance.now();
  tree.add([module("."), ...Array.from({ length: 10_000 }, (_, index) => module(`layers.${index}`))]);
  assert.equal(tree.root?.children.length, 10_000);
  assert.ok(performance.now() - begun < 1000);
});

test("number format and device are said where they differ from the whole model's", () => {
  const tree = new ModuleTree();
  tree.add([
    module(".", { parameters: 3_400_000 }),
    module("a", { parameters: 1234 }),
    module("b", { dtype: "float32" }),
  ]);
  const root = tree.root?.module;
  const text = (path: string) => described(tree.get(path) ?? assert.fail(path), root);
  assert.equal(text(""), "3.40 M · bfloat16 · cpu");
  assert.equal(text("a"), "Linear · 1.23 K");
  assert.equal(text("b"), "Linear · float32");
  assert.equal(count(999), "999");
});

test("the status bar says model, device, tokens, speed and memory, and nothing that is not known", () => {
  const status = { model: "Llama", device: "cpu", dtype: "float32", parameters: 1, steps: 0, seconds: 0 };
  assert.equal(statusText(status, { step: 0, path: "model" }), "Llama · cpu · token 0");
  const later = { ...status, steps: 3, seconds: 0.5, memory: 700 * 2 ** 20 };
  assert.equal(statusText(later, { step: 2, path: "sample" }), "Llama · cpu · token 2 · 6.0 tokens/s · 700 MiB");
  assert.equal(statusText(status, { step: 3, path: "end" }), "Llama · cpu · end");
  assert.equal(statusText(status, { step: 3, path: "end" }, "a.py"), "a.py · Llama · cpu · end");
  assert.equal(statusText({ ...status, memory: 700 * 2 ** 20 }, undefined, "a.py"), "a.py · Python · 700 MiB");
});

test("a frame is known by its number, and by the name that the editor gives it", () => {
  const frames = new ToldFrames();
  const frame = { id: 12, name: "step 3: x", line: 0, column: 0, moduleId: "." };
  frames.asked({ type: "request", command: "stackTrace", seq: 7, arguments: { threadId: 1, startFrame: 4 } });
  frames.answered({ type: "response", command: "stackTrace", request_seq: 7, body: { stackFrames: [frame] } });
  assert.equal(frames.byId(12), frame);
  assert.equal(frames.named("stackframe:thread:abc-1:1:4:a.llmmap", "step 3: x"), frame);
  assert.equal(frames.named("stackframe:thread:abc-1:1:5:a.llmmap", "step 3: x"), undefined);
  frames.answered({ type: "event", event: "stopped" });
  assert.equal(frames.byId(12), undefined);
});
