import assert from "node:assert/strict";
import { test } from "node:test";
import type { Branch, CompareBranchesResponseBody, EditInfo } from "../src/protocol/messages";
import {
  layerLabel,
  movementPatch,
  movementTable,
  said,
  stepTable,
  summary,
} from "../src/webviews/generation/comparison";
import { beginning, extent, treeOf } from "../src/webviews/generation/tree";

const token = (text: string, probability = 0.5) => ({ id: 1, text, probability });

function branch(id: number, rest: Partial<Branch> = {}): Branch {
  return { id, name: `branch ${id}`, isPresent: id === 2, steps: 5, tokens: [token("a")], edits: [], ...rest };
}

function edit(id: number, enabled = true): EditInfo {
  return { id, text: `edit ${id}`, enabled, spec: { target: { kind: "token" }, change: { kind: "force" } } };
}

test("branches are a tree, by the steps in which they left", () => {
  const tree = treeOf([
    branch(1),
    branch(2, { parent: 1, forkStep: 3, edits: [edit(1)] }),
    branch(3, { parent: 1, forkStep: 1 }),
    branch(4, { parent: 2, forkStep: 4, edits: [edit(1), edit(2), edit(3, false)] }),
  ]);
  assert.deepEqual(
    tree.map(({ branch, children }) => [branch.id, children.map(({ branch }) => branch.id)]),
    [[1, [3, 2]]],
  );
  const [, second] = tree[0]?.children ?? [];
  assert.deepEqual(second?.edits, ["edit 1"]);
  assert.deepEqual(second?.children[0]?.edits, ["edit 2"]);
});

test("a branch whose parent is deleted is not lost", () => {
  assert.deepEqual(
    treeOf([branch(2, { parent: 1 }), branch(3, { parent: 2 })]).map(({ branch }) => branch.id),
    [2],
  );
});

test("what is told of a branch", () => {
  assert.equal(extent(branch(1)), "1 token from the prompt");
  assert.equal(extent(branch(2, { forkStep: 3, tokens: [token("a"), token("b")] })), "2 tokens from step 3, 5 in all");
  const spec: EditInfo["spec"] = { target: { kind: "prompt" }, change: { kind: "set", text: "One two" } };
  const prompt = { id: 1, text: "prompt = 'One two'", enabled: true, spec };
  assert.equal(extent(branch(3, { forkStep: 0, edits: [prompt] })), "1 token from its prompt");
  assert.deepEqual(beginning([token("a"), token("b")], 1), { shown: [token("a")], isCut: true });
});

const data = Buffer.from(Float32Array.of(0, 0.5, 0.25, Number.NaN).buffer).toString("base64");
const COMPARED: CompareBranchesResponseBody = {
  a: 1,
  b: 2,
  sequence: 0,
  fork: 3,
  divergence: 3,
  steps: [
    { step: 3, logits: { same: false, kl: 1.5, totalVariation: 0.25 }, a: token(" Paris"), b: token(" Tokyo") },
    { step: 4, logits: { same: false }, a: token(".") },
  ],
  layers: ["", "model.layers.0"],
  positions: [
    { position: 8, differs: false },
    { position: 9, differs: true },
  ],
  movement: { shape: [2, 2], dtype: "float32", data },
};

test("two branches are told apart by the first token that differs", () => {
  assert.equal(
    summary(COMPARED),
    'The first token that differs is that of step 3: " Paris" (50.0 %) and " Tokyo" (50.0 %).',
  );
  const { fork: _fork, divergence: _divergence, ...same } = COMPARED;
  assert.match(summary(same), /are the same/);
  assert.match(summary({ ...same, fork: 2 }), /from step 2 on, and have chosen the same tokens/);
});

test("their steps are rows, and what is not finite is said", () => {
  assert.deepEqual(stepTable(COMPARED, ["one", "two"]).rows, [
    [3, '" Paris"', "50.0 %", '" Tokyo"', "50.0 %", "1.50"],
    [4, '"."', "50.0 %", "", "", "∞"],
  ]);
});

test("layers by positions say how far the residual stream is apart", () => {
  const patch = movementPatch(COMPARED, (position) => (position === 9 ? " Tokyo" : undefined));
  assert.ok(patch);
  assert.deepEqual(patch.rows.labels, ["embedding", "0"]);
  assert.deepEqual(patch.columns.labels, ['"8"', '"≠ Tokyo"']);
  assert.equal(
    said(COMPARED, patch, 0, 1),
    "into the first layer, position 9 (another token): 0.5000 of the norm apart",
  );
  assert.equal(said(COMPARED, patch, 1, 1), "behind model.layers.0, position 9 (another token): not known");
  assert.deepEqual(movementTable(COMPARED, patch).rows[0], ["embedding", 0, 0.5]);
  assert.equal(layerLabel("decoder.block.11"), "11");
});
