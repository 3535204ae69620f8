import assert from "node:assert/strict";
import { test } from "node:test";
import { advice, type Candidate, choose, examine, judge, type Verdict } from "../src/debug/environments";

const READY = { python: [3, 11, 7], debugger: "0.1.0", torch: true };

test("a Python with llm-dap and torch is ready", () => {
  assert.deepEqual(judge("python", READY), { kind: "ready", python: "python", version: "0.1.0" });
});

test("what is missing is told, the first thing first", () => {
  assert.equal(judge("python", { ...READY, python: [3, 9, 18], debugger: null }).kind, "old python");
  assert.equal(judge("python", { ...READY, debugger: null, torch: false }).kind, "no debugger");
  assert.equal(judge("python", { ...READY, debugger: "0.0.9" }).kind, "old debugger");
  assert.equal(judge("python", { ...READY, debugger: "1.0.0.dev1" }).kind, "ready");
  assert.equal(judge("python", { ...READY, torch: false }).kind, "no torch");
});

test("a Python that is not there is absent, and one that is none is broken", async () => {
  assert.equal((await examine("/nowhere/python")).kind, "absent");
  assert.equal((await examine("false")).kind, "broken");
});

const candidates: Candidate[] = [
  { python: "a", origin: "workspace" },
  { python: "b", origin: "path" },
];
const verdicts = (found: Record<string, Verdict["kind"]>) => async (python: string) =>
  ({ kind: found[python] ?? "absent", python, version: "", detail: "" }) as Verdict;

test("the first that is ready is taken", async () => {
  assert.equal((await choose(candidates, verdicts({ a: "no debugger", b: "ready" })))?.python, "b");
});

test("where none is ready, help is for the first that is there", async () => {
  assert.equal((await choose(candidates, verdicts({ a: "no debugger", b: "no debugger" })))?.python, "a");
  assert.equal((await choose(candidates, verdicts({ b: "no debugger" })))?.python, "b");
});

test("the one that a person has named is the only one", async () => {
  const named: Candidate[] = [{ python: "mine", origin: "setting" }, ...candidates];
  assert.deepEqual((await choose(named, verdicts({ a: "ready" })))?.kind, "absent");
});

test("without any Python there is advice too", async () => {
  assert.equal(await choose([], verdicts({})), undefined);
  assert.match(advice(undefined).message, /No Python was found/);
});

test("only what pip can mend is offered to be installed", () => {
  assert.deepEqual(advice({ kind: "no debugger", python: "p" }).install, ["llm-dap"]);
  assert.deepEqual(advice({ kind: "no torch", python: "p" }).install, ["torch", "transformers"]);
  assert.equal(advice({ kind: "old python", python: "p", version: "3.9.1" }).install, undefined);
  assert.match(advice({ kind: "broken", python: "p", detail: "Traceback\nMemoryError" }).message, /MemoryError$/);
});
