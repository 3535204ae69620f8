import assert from "node:assert/strict";
import { test } from "node:test";
import { anomalyOf, shortText } from "../src/debug/explaining";
import { ToldFilters } from "../src/debug/toldFilters";
import type { BreakpointCost, GenerationResponseBody } from "../src/protocol/messages";
import { costRows, totalCost } from "../src/views/costText";

const WHERE = { step: 3, path: "model.layers.4.mlp", phase: "after", layer: 4, steps: 3 } as GenerationResponseBody;
const TEXT =
  "NaN in what model.layers.4.mlp (LlamaMLP) returns in step 3: 6 of 1,152 values of float32, first at [0, 0, 3]. " +
  "model.layers.4.mlp.weight has NaN at [3, 5]";
const INFO = {
  exceptionId: "nonFinite",
  breakMode: "always",
  description: TEXT,
  details: {
    typeName: "Non-finite values",
    innerException: [
      { message: "the weight" },
      { message: "addmm made it", innerException: [{ message: "its operand" }] },
    ],
  },
} as const;

test("an anomaly has a label, a place, and the way back", () => {
  const { details, ...info } = INFO;
  const anomaly = anomalyOf(
    { ...info, details: { ...details, innerException: [...details.innerException] } as never },
    WHERE,
  );
  assert.equal(anomaly.label, "Non-finite values");
  assert.deepEqual(anomaly.origins, ["the weight", "addmm made it", "its operand"]);
  assert.deepEqual(anomaly.place, { step: 3, path: "model.layers.4.mlp", phase: "after", layer: 4 });
  assert.deepEqual(anomalyOf({ exceptionId: "X", breakMode: "always" }, undefined), {
    id: "X",
    label: "X",
    text: "",
    origins: [],
  });
});

test("beside its line it is said without the place and the reason, and no word is cut", () => {
  const anomaly = { id: "nonFinite", label: "Non-finite values", text: TEXT, origins: [], place: WHERE };
  assert.equal(shortText(anomaly, 90), "NaN: 6 of 1,152 values of float32, first at [0, 0, 3]");
  assert.equal(shortText(anomaly, 31), "NaN: 6 of 1,152 values…");
  assert.equal(shortText({ ...anomaly, text: "Low confidence: entropy 8" }, 40), "Low confidence: entropy 8");
  assert.equal(shortText({ ...anomaly, text: "" }, 40), "Non-finite values");
  const raised = { ...anomaly, text: "ValueError in model.layers.4.mlp (LlamaMLP) in step 3: bad shape" };
  assert.equal(shortText(raised, 40), "ValueError: bad shape");
});

test("filters and their conditions are read off the wire, and stay with one that is switched off", () => {
  const filters = new ToldFilters();
  const initialize = {
    type: "response",
    command: "initialize",
    body: {
      exceptionBreakpointFilters: [
        { filter: "a", label: "A", default: true },
        { filter: "b", label: "B" },
      ],
    },
  };
  filters.answered(initialize);
  assert.deepEqual(filters.all, [
    { id: "a", label: "A", isOn: true },
    { id: "b", label: "B", isOn: false },
  ]);
  const set = (...filterOptions: { filterId: string; condition?: string }[]) =>
    filters.asked({ type: "request", command: "setExceptionBreakpoints", arguments: { filters: [], filterOptions } });
  set({ filterId: "a" }, { filterId: "b", condition: "growth > 9" });
  set({ filterId: "a" });
  assert.deepEqual(filters.all[1], { id: "b", label: "B", isOn: false, condition: "growth > 9" });
  filters.answered(initialize);
  assert.equal(filters.all[1]?.condition, "growth > 9");
  set({ filterId: "b" });
  assert.deepEqual(filters.all, [
    { id: "a", label: "A", isOn: false },
    { id: "b", label: "B", isOn: true },
  ]);
});

test("costs are told with the dearest first", () => {
  const cost: BreakpointCost = { id: 1, name: "nonFinite", kind: "exception", places: 84, judged: "once a step" };
  const why = "`lens` is worked out on the host";
  const judged: BreakpointCost = { id: 2, name: "*.layers.*", kind: "function", places: 6, judged: "at once", why };
  const dear = { ...judged, evaluations: 1200, perToken: 0.004, share: 0.25 };
  const body = { breakpoints: [{ ...cost, perToken: 0.000008, share: 0.0005 }, dear], secondsPerToken: 0.016 };
  const rows = costRows(body, [{ id: "nonFinite", label: "Non-finite values", isOn: true }]);
  assert.deepEqual(rows, [
    {
      label: "*.layers.*",
      description: "25.0 % of a token's time · 4 ms",
      detail: "6 places · judged at once: `lens` is worked out on the host · evaluated 1,200 times",
    },
    {
      label: "Non-finite values",
      description: "< 0.1 % of a token's time · 8 µs",
      detail: "84 places · judged once a step · not evaluated yet",
    },
  ]);
  assert.equal(totalCost(body), "4.01 ms a token, 25.1 % of its time");
  assert.equal(totalCost({ breakpoints: [cost] }), undefined);
});
