import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "../editor.mjs";
import { lineOf, MODEL, PROMPT, ROOT } from "../workspace.mjs";

export const title = "what is seen and done in the editor of a map";

const MAP = "atlas.llmmap";

/** Norm and token behind the second layer, worked out by transformers alone. */
const REFERENCE = `
import json, sys, torch, transformers
transformers.logging.disable_progress_bar()
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
with torch.no_grad():
    states = model(**tokenizer(sys.argv[2], return_tensors="pt"), output_hidden_states=True).hidden_states
    chances = model.lm_head(model.model.norm(states[2][0, -1])).softmax(-1)
print(json.dumps([states[2][0, -1].norm().item(), tokenizer.decode(chances.argmax()), 100 * chances.max().item()]))
`;

export default async function ({ editor, folder, step, measure, python }) {
  const line = await lineOf(join(folder, MAP), /^\s*model\.layers\.2\s/);
  const { stdout } = await promisify(execFile)(python, ["-c", REFERENCE, MODEL, PROMPT], { cwd: ROOT });
  const [norm, token, percent] = JSON.parse(stdout.trim().split("\n").at(-1));

  await step("a map is coloured, folds, and has an outline", async () => {
    await editor.open(MAP);
    await editor.show("Explorer");
    await editor.command("Explorer: Focus on Outline View");
    await editor.page.locator(".outline-pane .monaco-list-row").filter({ hasText: "model" }).first().waitFor();
  });

  await step("F9 on a line, then F5, stops at that module", async () => {
    await editor.breakpoint(MAP, line);
    await editor.start();
    await editor.stoppedAt("model.layers.2", 60_000);
    assert.equal(await editor.currentLine(MAP), line);
  });

  await step("beside the lines stand norms, and behind layers what the lens reads", async () => {
    const begun = performance.now();
    const beside = await until(async () => {
      const text = await editor.lineText(MAP, "model.layers.1 ");
      return /norm \d/.test(text) && text;
    }, "a value beside model.layers.1");
    measure("from a stop in a map to all its inline values", performance.now() - begun);
    const shown = /norm ([\d.]+) +→ "(.*)" ([\d.]+) %/.exec(beside);
    assert.ok(shown, beside);
    assert.equal(shown[2], token);
    assert.ok(Math.abs(Number(shown[1]) - norm) / norm < 0.005, `${shown[1]}, not ${norm}`);
    assert.ok(Math.abs(Number(shown[3]) - percent) < 0.06, `${shown[3]}, not ${percent}`);
    assert.match(await editor.lineText(MAP, "model.layers.2 "), /input \d/);
    assert.doesNotMatch(await editor.lineText(MAP, "model.layers.3 "), /norm \d/, "it has not run yet");
    const box = await editor.textBox(MAP, "model.layers.2 ");
    await editor.picture("map-editor", editor.part({ x: box.x - 130, y: box.y - 270, width: 860, height: 310 }));
  });

  await step("a path is hovered over as a whole", async () => {
    const value = await editor.hover(MAP, "model.layers.1 ", "layers.1");
    assert.match(value, /LlamaDecoderLayer/);
  });

  await step("a wrong condition says at once what is wrong, and cannot be set", async () => {
    await editor.goToLine(line);
    await editor.command("LLM: Edit Model Breakpoint…");
    await editor.answer("Condition", { title: "Breakpoint at model.layers.2" });
    const input = editor.page.locator(".quick-input-widget");
    await editor.type("nomr > 5", "Condition of the breakpoint at model.layers.2");
    await input.getByText("did you mean 'norm'").waitFor();
    const top = editor.part({ x: 400, y: 0, width: 760, height: 230 });
    await editor.snapshot("edit-breakpoint-dark", top);
    await editor.page.keyboard.press("Enter");
    await editor.type("no", "Condition of the breakpoint");
    await input.locator(".monaco-list-row").filter({ hasText: "norm: float" }).first().waitFor();
  });

  await step("a right one is set, and stops there", async () => {
    await editor.type("norm > 5 and step == 2", "Condition of the breakpoint");
    await editor.page.locator(".quick-input-widget").getByText("Enter sets it").waitFor();
    await editor.page.keyboard.press("Enter");
    await until(async () => (await editor.breakpoints()).some((row) => row.includes("norm > 5")), "the condition");
    await editor.press("continue");
    await editor.stoppedAt("model.layers.2");
    await editor.frame("step 2");
  });

  await step("a second column of the line stops after the module", async () => {
    await editor.goToLine(line);
    await editor.command("LLM: Break After Here");
    await until(async () => (await editor.breakpoints()).length >= 2, "a second breakpoint");
    await editor.press("continue");
    await editor.stoppedAt("model.layers.2 (after)");
    assert.equal(await editor.currentLine(MAP), line);
    await editor.frame("step 2");
    await until(async () => (await editor.textBox(MAP, "model.layers.2 ")).x > 0, "the path to be in sight");
  });

  await step("in Python code, names are hovered over while a Python frame is looked at", async () => {
    await editor.focusFrame("LlamaModel.forward");
    await editor.page.locator(".tab.active").filter({ hasText: "modeling_llama.py" }).waitFor();
    const value = await editor.hover("modeling_llama.py", "hidden_states = decoder_layer(", "hidden_states");
    assert.match(value, /float32 \[1, 1, 192\]/);
  });

  await step("the map of the session is one command away", async () => {
    await editor.command("LLM: Open Model Map");
    await editor.page.locator(".tab.active").filter({ hasText: MAP }).waitFor();
  });

  await step("stopping takes the values away", async () => {
    await editor.press("stop");
    await editor.ended();
    await until(async () => !/norm \d/.test(await editor.lineText(MAP, "model.layers.1 ")), "no values");
  });

  await step("the Python source of a line is one command away", async () => {
    await editor.goToLine(line);
    await editor.command("LLM: Go to Python Source");
    await editor.page.locator(".tab.active").filter({ hasText: "modeling_llama.py" }).waitFor();
    await editor.page.keyboard.press("Control+PageUp");
  });

  await step("the map made anew takes its breakpoints along", async () => {
    await editor.open(MAP);
    await editor.goToLine(line - 10);
    for (let i = 0; i < 3; i++) {
      await editor.page.keyboard.press("Control+Shift+K");
    }
    const at = async (wanted) =>
      (await editor.breakpoints()).length === 2 &&
      (await editor.breakpoints()).every((row) => new RegExp(`\\b${wanted}\\b`).test(row));
    await until(() => at(line - 3), "the breakpoints to go up");
    await editor.command("LLM: Make This Map Anew");
    await until(() => at(line), "the breakpoints at their places again");
    assert.match(await editor.lineText(MAP, "model.layers.2 "), /LlamaDecoderLayer/);
  });
}
