import assert from "node:assert/strict";
import { test } from "node:test";
import type { AttentionHead, AttentionOfModule, AttentionResponseBody } from "../src/protocol/messages";
import { cellWords } from "../src/webviews/attention/cell";
import { headsOf, kindOf, layerNames, ofKind, sorted, telling } from "../src/webviews/attention/heads";
import { difference, hides, patchOf, patchOfHeads, pooled, together } from "../src/webviews/attention/patch";
import { highest, minus, over, patchTable, rowIn, stepOf } from "../src/webviews/attention/rows";
import { change, inText, quoted, weight } from "../src/webviews/attention/text";
import { onAxis, unquoted } from "../src/webviews/shared/heatmap/labels";
import { isExact, type Patch, valueAt } from "../src/webviews/shared/heatmap/patch";
import { isWhole, labelled, moved, seen, showing, whole, zoomed } from "../src/webviews/shared/heatmap/viewport";

const { NaN: nan } = Number;

function call(path: string, rows: number[][], heads: Partial<AttentionHead>[], start = 0): AttentionOfModule {
  const bytes = new Float32Array(rows.flat());
  const width = rows[0]?.length ?? 0;
  const data = Buffer.from(bytes.buffer).toString("base64");
  const labels = Array.from({ length: width }, (_, at) => `' t${at}'`);
  return {
    path,
    kind: "self",
    kernel: "sdpa",
    source: "AttentionInterface",
    headCount: heads.length,
    queries: { start: start, end: start + rows.length, size: rows.length, labels: labels.slice(-rows.length) },
    keys: { start: 0, end: width, size: width, labels },
    heads: heads.map((head, at) => ({
      head: at,
      entropy: 1,
      first: 0,
      tile: { shape: [rows.length, width], dtype: "float32", data },
      ...head,
    })),
  };
}

const body = (...calls: AttentionOfModule[]): AttentionResponseBody => ({ step: 0, path: "", calls });
const patch = (rows: number[][], block = 1): Patch => ({
  rows: { start: 0, end: rows.length * block, block, labels: rows.map((_, at) => `'q${at}'`) },
  columns: { start: 0, end: (rows[0]?.length ?? 0) * block, block, labels: (rows[0] ?? []).map((_, at) => `'k${at}'`) },
  values: new Float32Array(rows.flat()),
});

test("heads are named by layer and head, and ordered by what they do", () => {
  const one = call(
    "model.layers.0.self_attn",
    [[1]],
    [{ kind: "sink", scores: { sink: 0.9 }, entropy: 2 }, { entropy: 3 }],
  );
  const two = call(
    "model.layers.1.self_attn",
    [[1]],
    [
      { kind: "induction", scores: { induction: 0.7, sink: 0.1 }, entropy: 0.5 },
      { kind: "induction", scores: { induction: 0.97 }, entropy: 0.7 },
    ],
  );
  const heads = headsOf(body(one, two));
  const names = (some: readonly { name: string }[]): string[] => some.map(({ name }) => name);
  assert.deepEqual(names(heads), ["0.0", "0.1", "1.0", "1.1"]);
  assert.deepEqual(names(sorted(heads, "kind")), ["1.1", "1.0", "0.0", "0.1"]);
  assert.deepEqual(names(sorted(heads, "entropy")), ["1.0", "1.1", "0.0", "0.1"]);
  assert.deepEqual(names(ofKind(heads, "sink")), ["0.0"]);
  assert.equal(telling(heads, undefined)?.name, "1.1");
  assert.equal(telling(heads, "model.layers.0")?.name, "0.0");
  assert.deepEqual(
    [kindOf(heads[3]?.is as AttentionHead), kindOf(heads[1]?.is as AttentionHead)],
    ["induction 97.0 %", ""],
  );
});

test("calls that share a layer have names of their own", () => {
  const cross: AttentionOfModule = { ...call("decoder.layers.3.encoder_attn", [[1]], [{}]), kind: "cross" };
  const calls = [
    call("decoder.layers.3.self_attn", [[1]], [{}]),
    cross,
    call("attention", [[1]], [{}]),
    call("attention", [[1]], [{}]),
  ];
  assert.deepEqual(layerNames(calls), ["3", "3×", "attention", "attention′"]);
  assert.equal(headsOf(body(...calls))[3]?.nth, 1);
});

test("a patch knows its cells", () => {
  const [head] = headsOf(
    body(
      call(
        "l.0",
        [
          [1, 0],
          [0.25, 0.75],
        ],
        [{}],
      ),
    ),
  );
  const own = patchOf(head as never);
  assert.equal(valueAt(own, 1, 1), 0.75);
  assert.equal(valueAt(own, 2, 0), undefined);
  const coarse = patch(
    [
      [0.5, 0.1],
      [0.2, 0.3],
    ],
    4,
  );
  assert.ok(Math.abs((valueAt(coarse, 7, 3) ?? nan) - 0.2) < 1e-6);
  assert.ok(!isExact(coarse) && isExact(own));
});

test("heads × keys takes the last query of every head, and leaves blank what a window has left behind", () => {
  const windowed = call("l.1", [[0.5, 0.5]], [{}]);
  windowed.keys = { ...windowed.keys, start: 1, end: 3 };
  const cross: AttentionOfModule = { ...call("l.1.cross", [[1]], [{}]), kind: "cross" };
  const rows = [
    [1, 0, 0],
    [0.25, 0.5, 0.25],
  ];
  const heads = headsOf(body(call("l.0", rows, [{ kind: "sink" }, {}]), windowed, cross));
  const same = together(heads, heads[0] as (typeof heads)[number]);
  const all = patchOfHeads(same);
  assert.deepEqual(all?.rows.labels, ["0.0 sink", "0.1", "1.0"], "cross attention looks at another text");
  assert.deepEqual([...(all?.values ?? [])], [0.25, 0.5, 0.25, 0.25, 0.5, 0.25, nan, 0.5, 0.5]);
});

test("the difference is of what both have, cell by cell", () => {
  const one = patch([
    [1, 0, 0],
    [0.5, 0.5, 0],
  ]);
  const other = { ...patch([[0.25, 0.75]]), rows: { start: 1, end: 2, block: 1, labels: ["'q1'"] } };
  const found = difference(one, other);
  assert.deepEqual([found?.rows.start, found?.rows.end, found?.columns.end], [1, 2, 2]);
  assert.deepEqual([...(found?.values ?? [])], [0.25, -0.25]);
  assert.equal(difference(one, patch([[1]], 2)), undefined, "blocks cannot be subtracted");
});

test("a small picture keeps the largest of every block, and masked only where all is", () => {
  const small = pooled(
    patch([
      [0.1, 0.9, nan],
      [0.3, 0.2, nan],
    ]),
    2,
  );
  assert.deepEqual(
    [...small.values].map((value) => Math.round(10 * value)),
    [9, nan],
  );
  assert.equal(small.columns.block, 2);
});

test("what comes later, is padding or has left the window is hidden", () => {
  const own = { ...call("l.0", [[1]], [{}]), start: 1, window: 2 };
  const at = (position: number): { start: number; end: number } => ({ start: position, end: position + 1 });
  const hidden = hides(own);
  assert.ok(hidden(at(2), at(3)) && hidden(at(2), at(0)) && hidden(at(4), at(2)) && hidden(at(0), at(0)));
  assert.ok(!hidden(at(4), at(3)) && !hidden(at(4), at(4)));
  assert.ok(!hidden({ start: 0, end: 8 }, { start: 4, end: 12 }), "a block that is partly seen");
  assert.ok(!hides({ ...own, kind: "cross", start: 0 })(at(2), at(3)));
});

test("a row over the text is masked where the token cannot see", () => {
  const row = rowIn(
    patch([
      [1, 0, 0],
      [0.5, 0.5, 0],
      [0, 0, 1],
    ]),
    1,
  );
  assert.ok(row);
  assert.deepEqual([...over(row, 0, 4, true)], [0.5, 0.5, nan, nan]);
  assert.deepEqual([...over(row, 0, 3, false)], [0.5, 0.5, 0]);
  assert.deepEqual([...minus(new Float32Array([1, 0.5]), new Float32Array([0.25]))], [0.75, nan]);
  assert.deepEqual(highest(new Float32Array([0.1, -0.9, nan, 0]), 3), [1, 0]);
  assert.deepEqual([stepOf(3, 6), stepOf(5, 6), stepOf(6, 6), stepOf(8, 6)], [0, 0, 1, 3]);
});

test("a map as a table names positions and tokens", () => {
  const table = patchTable(patch([[0.5, nan]], 2), "a map", "from");
  assert.deepEqual(table.columns, ["from", "0–1 k0", "2–3 k1"]);
  assert.deepEqual(table.rows, [["0–1 q0", 0.5, ""]]);
});

test("labels are read as Python writes them, and shown so that blanks are seen", () => {
  const labels = ["' Paris'", '"it\'s"', "'a\\n\\t'", "'\\x1b\\u20ac\\U0001f600'", "'\\\\'", "position 4"];
  assert.deepEqual(labels.map(unquoted), [" Paris", "it's", "a\n\t", "\x1b€😀", "\\", "position 4"]);
  assert.deepEqual([" Paris", "it's", 'say "x"'].map(quoted), ["' Paris'", '"it\'s"', "'say \"x\"'"]);
  assert.deepEqual(["' Paris'", "'\\n'", "''", "' a very long token'"].map(onAxis), [
    "·Paris",
    "⏎",
    "∅",
    "·a·very·long·…",
  ]);
  assert.equal(inText("'a\\n'"), "a⏎");
  assert.deepEqual(
    [weight(0.5), weight(1), weight(0), change(-0.25), change(0)],
    ["50.0 %", "100 %", "0 %", "−25.0 %", "0 %"],
  );
});

test("zooming keeps the cell under the pointer, and ends at large cells and at the whole", () => {
  const size = { rows: 1000, columns: 1000 };
  const plot = { width: 300, height: 300 };
  const near = zoomed(whole(size), 4, 500, 250, size, plot);
  assert.deepEqual(near, { left: 375, top: 187.5, width: 250, height: 250 });
  const nearest = zoomed(near, 1000, 500, 250, size, plot);
  assert.equal(nearest.width, 10, "cells of 30 pixels");
  assert.ok(isWhole(zoomed(near, 0.01, 500, 250, size, plot), size));
  assert.deepEqual(moved(near, -1000, 5000, size), { ...near, left: 0, top: 750 });
  assert.deepEqual(showing(near, 900, 0, size), { ...near, left: 0, top: 651 });
  assert.deepEqual(seen(near, size, 0.5).columns, { start: 250, end: 750 });
});

test("labels stand far enough apart", () => {
  assert.deepEqual(labelled({ start: 3, end: 6 }, 20, 13), [3, 4, 5]);
  assert.deepEqual(labelled({ start: 0, end: 100 }, 0.5, 13), [0, 50]);
  assert.deepEqual(labelled({ start: 7, end: 31 }, 2, 13), [10, 20, 30]);
});

test("a cell is told with its tokens, a block of them with its bounds", () => {
  const told = { head: { leftOut: 0 } as AttentionHead, hides: () => true, isMany: true, isDifference: false };
  const own = patch([
    [1, 0],
    [0.25, 0.75],
  ]);
  const say = (row: number, column: number): string => cellWords(own, row, column, told);
  assert.deepEqual(
    [say(1, 1), say(0, 1), say(1, 0)],
    ["'q1' at 1 → 'k1' at 1: 75.0 %", "'q0' at 0 → 'k1' at 1: masked", "'q1' at 1 → 'k0' at 0: left out"],
  );
  const coarse = patch([[0.5, 0.25]], 4);
  assert.equal(cellWords(coarse, 2, 5, told), "0 to 3 → 4 to 7: 25.0 % at most, of 16 cells");
  assert.equal(cellWords(own, 1, 1, { ...told, isMany: false, isDifference: true }), "head 'q1' → 'k1' at 1: +75.0 %");
});
