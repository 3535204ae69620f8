import assert from "node:assert/strict";
import { join } from "node:path";
import { until, WINDOW } from "../editor.mjs";
import { lineOf } from "../workspace.mjs";

export const title = "the debug view: motions, menus, modules, status bar";

const GO = "Go to This Step or Layer";

export default async function ({ editor, folder, step, measure }) {
  const line = await lineOf(join(folder, "atlas.llmmap"), /^\s*model\.layers\.1\s/);

  await step("a run stops at the second layer", async () => {
    await editor.open("atlas.llmmap");
    await editor.breakpoint("atlas.llmmap", line);
    await editor.start();
    await editor.stoppedAt("model.layers.1", 60_000);
  });

  await step("the status bar says model, device, token and memory", async () => {
    assert.match(await editor.status(/token/), /LlamaForCausalLM · cpu · token 0 · \d+ MiB/);
  });

  await step("the toolbar goes to the next layer", async () => {
    await editor.toolbar("Next Layer");
    await editor.stoppedAt("model.layers.2");
  });

  await step("and to the same place of the next token, and back", async () => {
    await editor.toolbar("Next Token");
    await editor.stoppedAt("model.layers.2");
    await editor.frame("step 1");
    await editor.status(/token 1 · \S+ tokens\/s/);
    await editor.toolbar("Previous Token");
    await editor.stoppedAt("model.layers.2");
    await editor.frame("step 0");
    await editor.status(/token 0 · /);
  });

  let modules;
  await step("the modules are a tree, opened at the place of the stop", async () => {
    const begun = performance.now();
    modules = await editor.section("Modules");
    await modules.locator(".monaco-list-row.selected").filter({ hasText: "LlamaDecoderLayer" }).waitFor();
    measure("from opening the tree of modules to the place of the stop", performance.now() - begun);
    const rows = await modules.locator(".monaco-list-row").allInnerTexts();
    assert.ok(
      rows.some((row) => /LlamaForCausalLM.*2\.85 M · float32 · cpu/s.test(row)),
      JSON.stringify(rows),
    );
  });

  await step("it follows the run", async () => {
    await editor.press("stepIn");
    await editor.stoppedAt("model.layers.2.input_layernorm");
    await modules.locator(".monaco-list-row.selected").filter({ hasText: "input_layernorm" }).waitFor();
  });

  await step("a breakpoint is set at a module, on its line of the map", async () => {
    const row = modules.locator(".monaco-list-row").filter({ hasText: "self_attn" }).first();
    await editor.section("Watch Section", false);
    await editor.chooseFromMenu(row, "Break at This Module");
    const mlp = modules.locator(".monaco-list-row").filter({ hasText: "mlp" }).first();
    await editor.chooseFromMenu(mlp, "Break After This Module");
    await until(async () => (await editor.breakpoints()).length === 3, "two more breakpoints");
    await editor.press("continue");
    await editor.stoppedAt("model.layers.2.self_attn (before)");
  });

  await step("the tree shows what is in the layer, and the place in it", async () => {
    for (const other of ["Variables", "Loaded Scripts", "Breakpoints"]) {
      await editor.section(`${other} Section`, false);
    }
    await modules.locator(".monaco-list-row").filter({ hasText: "post_attention_layernorm" }).waitFor();
    await modules.locator(".monaco-list-row.selected").filter({ hasText: "self_attn" }).waitFor();
    await editor.page.setViewportSize({ width: 900, height: 560 });
    await editor.focusFrame("self_attn (before)"); // its line is in sight again
    await editor.picture("debug-view");
    await editor.picture("modules", modules);
    await editor.page.setViewportSize(WINDOW);
  });

  await step("the other one stops behind the module", async () => {
    await editor.press("continue");
    await editor.stoppedAt("model.layers.2.mlp (after)");
  });

  await step("a module's Python is opened", async () => {
    const row = modules.locator(".monaco-list-row").filter({ hasText: "mlp" }).first();
    await editor.chooseFromMenu(row, "Go to Its Python Source");
    await editor.page.locator(".tab.active").filter({ hasText: "modeling_llama.py" }).waitFor();
  });

  await step("the run goes to a module of this step", async () => {
    const row = modules.locator(".monaco-list-row").filter({ hasText: "input_layernorm" }).first();
    await editor.moving(() => editor.chooseFromMenu(row, "Run to This Module"));
    await editor.stoppedAt("model.layers.2.input_layernorm");
    await modules.locator(".monaco-list-row.selected").filter({ hasText: "input_layernorm" }).waitFor();
  });

  await step("the menu of a frame of the history shows the attention there, and the run stays", async () => {
    await editor.section("Modules", false);
    await editor.toolbar("Next Token");
    await editor.stoppedAt("model.layers.2.input_layernorm");
    await editor.frame("step 1");
    await editor.chooseFromMenu(await editor.pastFrame(/^step 0/), "Attention Here");
    const page = await editor.panel("Attention");
    await page.getByText(/^Step 0 · 6 layers × 6 heads .* 6 × 6 tokens/).waitFor();
    await editor.frame("step 1");
  });

  await step("the menu of a frame that is running goes to its beginning", async () => {
    await editor.moving(() => editor.chooseFromMenu(editor.frameRow("model.layers.2"), GO));
    await editor.stoppedAt(/^model\.layers\.2 /);
  });

  await step("the menu of a frame of the history goes back there", async () => {
    const row = await editor.pastFrame("model.layers.0 (done)");
    await editor.moving(() => editor.chooseFromMenu(row, GO));
    await editor.stoppedAt(/^model\.layers\.0 /);
  });

  await step("by keys: the motions in the palette, and the tree of the modules", async () => {
    await editor.moving(() => editor.command("LLM: Next Layer"));
    await editor.stoppedAt(/^model\.layers\.1 /);
    await editor.command("Focus on Modules View");
    await modules.locator(".monaco-list-row.selected").filter({ hasText: "LlamaDecoderLayer" }).waitFor();
    await editor.page.keyboard.press("Home");
    await modules.locator(".monaco-list-row.focused").filter({ hasText: "LlamaForCausalLM" }).waitFor();
  });

  await step("stopping ends the session, and nothing of it stays", async () => {
    await editor.press("stop");
    await editor.ended();
    await editor.page.locator("[id$='llm.status']").waitFor({ state: "hidden" });
    await modules.waitFor({ state: "hidden" });
  });
}
