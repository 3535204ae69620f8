import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "../editor.mjs";
import { lineOf } from "../workspace.mjs";

export const title = "a Python program and its model in one session";
export const configurations = [];
export const programs = ["prompts.py"];

const FILE = "prompts.py";

export default async function ({ editor, folder, step }) {
  const program = join(folder, "programs", FILE);
  const line = await lineOf(program, /inputs = tokenizer/);

  await step("a Python file has a button that debugs it with its models", async () => {
    assert.equal(await editor.open(`programs/${FILE}`), "Python");
    await editor.breakpoint(FILE, line);
    await editor.functionBreakpoint("*.layers.1");
    await editor.showLine(FILE, line, "inputs = tokenizer");
    await editor.pressAbove("Debug Python with Its Models");
  });

  await step("its line stops, with the frames of Python", async () => {
    await editor.stoppedAt(/^answer /, 60_000);
    assert.equal(await editor.currentLine(FILE), line);
    for (const frame of ["main", "<module>"]) {
      await editor.frame(frame);
    }
    await editor.status(/^prompts\.py · Python/);
  });
}
