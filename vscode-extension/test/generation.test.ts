import assert from "node:assert/strict";
import { test } from "node:test";
import type { GeneratedToken, GenerationArguments, GenerationResponseBody } from "../src/protocol/messages";
import { shownTokens, spoken, textTable, unsureness } from "../src/webviews/generation/rows";
import { choiceOf, neighbour, percent, Text, visible } from "../src/webviews/shared/text";
import { length, presentSlot, series, slots, stepText } from "../src/webviews/timeline/rows";
import { moved } from "../src/webviews/timeline/slider";

const LAYERS = ["model.layers.0", "model.layers.1"];

function body(where: Partial<GenerationResponseBody>, tokens: GeneratedToken[] = []): GenerationResponseBody {
  const total = tokens.length;
  const base = { sequence: 0, total, promptLength: 3, steps: Math.max(0, total - 3), step: 0, path: "step" };
  return { ...base, phase: "before", layers: LAYERS, hasSelection: true, isOver: false, tokens, ...where };
}

const PROMPT: GeneratedToken[] = [
  { id: 0, text: "<pad>", position: 0, special: true, padding: true },
  { id: 0, text: "<pad>", position: 1, special: true, padding: true },
  { id: 5, text: "a\n", position: 2 },
];
const CHOSEN: GeneratedToken[] = [
  { id: 6, text: " b", position: 3, step: 0, probability: 0.75, entropy: 0.5 },
  { id: 7, text: " c", position: 4, step: 1, probability: 0.25 },
  { id: 2, text: "</s>", position: 5, step: 2, probability: 1, special: true },
];

/** An engine with a long text; it writes down what it was asked. */
function engine(where: Partial<GenerationResponseBody>, tokens: GeneratedToken[]) {
  const asked: GenerationArguments[] = [];
  const ask = async (args: GenerationArguments): Promise<GenerationResponseBody> => {
    asked.push(args);
    const { start = 0, count = tokens.length } = args;
    const page = tokens.slice(start, start + count);
    const known = page.map((token) => (args.entropy ? { ...token, entropy: 0.1 } : token));
    return { ...body(where, tokens), tokens: known };
  };
  return { ask, asked };
}

async function read(where: Partial<GenerationResponseBody>, tokens: GeneratedToken[]): Promise<Text> {
  const text = new Text();
  const nothing = () => undefined;
  await text.read(engine(where, tokens).ask, 1, new AbortController().signal, nothing, nothing);
  return text;
}

test("padding is one token on the page, and what was chosen has its colour", async () => {
  const text = await read({ step: 1, path: "sample" }, [...PROMPT, ...CHOSEN]);
  const shown = shownTokens(text, "probability", 1);
  assert.deepEqual(
    shown.map(({ text, kind, when, unsure }) => [text, kind, when, unsure]),
    [
      ["<pad> × 2", "padding", "past", undefined],
      ["a↵\n", "plain", "past", undefined],
      [" b", "plain", "past", 0.25],
      [" c", "plain", "present", 0.75],
      ["</s>", "special", "future", 0],
    ],
  );
  assert.deepEqual(shown[0]?.position, 0);
});

test("a token that is being chosen has its place, until the end", async () => {
  const at = await read({ step: 3, path: "model.layers.0" }, [...PROMPT, ...CHOSEN]);
  assert.deepEqual(shownTokens(at, "probability", 1).at(-1), {
    position: 6,
    text: "…",
    kind: "choice",
    when: "present",
  });
  const end = await read({ step: 2, path: "end", isOver: true }, [...PROMPT, ...CHOSEN]);
  assert.equal(shownTokens(end, "probability", 1).at(-1)?.when, "past");
});

test("entropy has a scale of its own, and what is not known has no colour", () => {
  const [b, c] = CHOSEN;
  assert.equal(b && unsureness(b, "entropy", 2), 0.25);
  assert.equal(c && unsureness(c, "entropy", 2), undefined);
});

test("a token is said in words, and is a row of a table", async () => {
  const text = await read({ step: 0, path: "sample" }, [...PROMPT, ...CHOSEN]);
  const { where } = text;
  assert.ok(where);
  assert.equal(spoken(text.tokens[0], where), '"<pad>", padding, prompt');
  assert.equal(spoken(text.tokens[3], where), '" b", step 0, 75.0 %, present');
  assert.equal(spoken(text.tokens[5], where), '"</s>", special token, step 2, 100 %, future');
  assert.deepEqual(textTable(text).rows[3], [3, " b", 6, "generated", 0, 0.75, 0.5]);
});

test("what cannot be seen is written so that it can", () => {
  assert.deepEqual(["a\n", "\t", "", "\u0001"].map(visible), ["a↵\n", "⇥\t", "∅", "␁"]);
  assert.deepEqual([1, 0.99999, 0.25, 0.0000012, 1e-12].map(percent), [
    "100 %",
    "> 99.9 %",
    "25.0 %",
    "0.00012 %",
    "< 0.0001 %",
  ]);
});

test("of a long text what is near the present place is asked for first, then all the rest once", async () => {
  const long = Array.from({ length: 6000 }, (_, at): GeneratedToken => {
    return { id: 1, text: "x", position: at, ...(at >= 3 && { step: at - 3, probability: 0.5 }) };
  });
  const { ask, asked } = engine({ step: 4000 }, long);
  const text = new Text();
  let first = 0;
  const signal = new AbortController().signal;
  await text.read(
    ask,
    1,
    signal,
    () => {
      first = asked.length;
    },
    () => undefined,
  );
  assert.equal(first, 2);
  assert.deepEqual(asked[1], { threadId: 1, start: 3747, count: 512 });
  assert.equal(text.tokens.filter((token) => token !== undefined).length, 6000);
  assert.ok(asked.length <= 6);
});

test("entropies are asked for from the present place backwards, and stay known", async () => {
  const { ask, asked } = engine({ step: 1, path: "sample" }, [...PROMPT, ...CHOSEN]);
  const text = new Text();
  const signal = new AbortController().signal;
  const nothing = () => undefined;
  await text.read(ask, 1, signal, nothing, nothing);
  await text.readEntropies(ask, 1, signal, nothing);
  assert.deepEqual(asked.at(-1), { threadId: 1, start: 3, count: 2, entropy: true });
  await text.read(ask, 1, signal, nothing, nothing);
  assert.deepEqual(
    text.tokens.slice(3).map((token) => token?.entropy),
    [0.5, 0.1, undefined],
  );
});

test("the next and the previous token keep the place inside the step", () => {
  const at = body({ step: 1, path: "model.layers.0", phase: "after" });
  assert.deepEqual(neighbour(at, 1), { step: 2, path: "model.layers.0", phase: "after" });
  assert.equal(neighbour(body({}), -1), undefined);
  assert.equal(neighbour(body({ path: "end", step: 4 }), 1), undefined);
  assert.deepEqual(neighbour(body({ path: "end", step: 4 }), -1), { step: 4, path: "sample" });
  assert.deepEqual(choiceOf(body({ hasSelection: false }), 2), { step: 2 });
});

test("the timeline has the layers and the selection inside a step", () => {
  assert.deepEqual(
    slots(body({})).map(({ label }) => label),
    ["start", "0", "1", "logits", "sample"],
  );
  assert.deepEqual(
    slots(body({ hasSelection: false })).map(({ label }) => label),
    ["start", "0", "1"],
  );
  const places: [Partial<GenerationResponseBody>, number, number][] = [
    [{ path: "step" }, 0, 0],
    [{ path: "model.embed_tokens", phase: "after" }, 0, 1],
    [{ path: "model.layers.0", layer: 0 }, 1, 0],
    [{ path: "model.layers.1.mlp", layer: 1 }, 2, 0.5],
    [{ path: "model.layers.1", layer: 1, phase: "after" }, 2, 1],
    [{ path: "lm_head", layer: 1 }, 2, 1],
    [{ path: "logits", isSelecting: true }, 3, 0],
    [{ path: "TopKLogitsWarper", isSelecting: true }, 3, 1],
    [{ path: "sample", isSelecting: true }, 4, 0],
    [{ path: "end" }, 4, 1],
  ];
  for (const [where, slot, part] of places) {
    assert.deepEqual(presentSlot(body(where)), { slot, part }, where.path);
  }
});

test("the timeline is as long as the tape, what lies ahead in a row of its own", async () => {
  const text = await read({ step: 1, path: "sample" }, [...PROMPT, ...CHOSEN]);
  assert.deepEqual(series(text, "probability"), [
    [0, 1, 2],
    [0.75, null, null],
    [null, 0.25, null],
    [null, null, 1],
  ]);
  assert.equal(stepText(text, 0), 'step 0: " b", 75.0 %, entropy 0.500 nats');
  assert.equal(length(body({ step: 5 })), 6);
});

test("keys move a slider inside its ends", () => {
  assert.deepEqual(
    ["ArrowLeft", "ArrowRight", "PageUp", "Home", "End"].map((key) => moved(key, 3, 8)),
    [2, 4, 8, 0, 8],
  );
});
