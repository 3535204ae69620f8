import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "../editor.mjs";
import { lineOf } from "../workspace.mjs";

export const title = "a breakpoint on a line of a model map";

export default async function ({ editor, folder, step, measure }) {
  const line = await lineOf(join(folder, "atlas.llmmap"), /^\s*model\.layers\.2\s/);

  await step("a map has its own language", async () => {
    assert.equal(await editor.open("atlas.llmmap"), "Model map");
  });

  await step("the language server gives its outline", async () => {
    await editor.quickOpen("@lm_head", "lm_head");
    const there = await lineOf(join(folder, "atlas.llmmap"), /^\s*lm_head\s/);
    await until(async () => (await editor.cursorLine()) === there, "the cursor on its line");
  });

  await step("a click in its margin, or F9, sets a breakpoint", async () => {
    await editor.breakpoint("atlas.llmmap", line);
  });

  await step("F5 stops at that line", async () => {
    const begun = performance.now();
    await editor.start();
    const top = await editor.stoppedAt("model.layers.2", 60_000);
    measure("from F5 to the first stop, at a breakpoint in a map", performance.now() - begun);
    assert.match(top, new RegExp(`atlas\\.llmmap ${line}`));
    assert.equal(await editor.currentLine("atlas.llmmap"), line);
    await editor.picture("map");
  });

  await step("stepping into the layer goes down the map", async () => {
    await editor.press("stepIn");
    await editor.stoppedAt("model.layers.2.input_layernorm");
    assert.equal(await editor.currentLine("atlas.llmmap"), line + 1);
  });

  await step("stopping ends the session", async () => {
    await editor.press("stop");
    await editor.ended();
  });
}
