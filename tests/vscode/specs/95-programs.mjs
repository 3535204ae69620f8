import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { until, WINDOW } from "../editor.mjs";
import { lineOf } from "../workspace.mjs";

export const title = "a Python program and its model in one session";
export const configurations = [];
export const programs = ["prompts.py"];

const FILE = "prompts.py";
const LLAMA = "modeling_llama.py";

export default async function ({ editor, folder, step, measure, python }) {
  const program = join(folder, "programs", FILE);
  const line = await lineOf(program, /output = model\.generate/);

  await step("a Python file has a button that debugs it with its models", async () => {
    assert.equal(await editor.open(`programs/${FILE}`), "Python");
    await editor.breakpoint(FILE, line);
    await editor.functionBreakpoint("*.layers.1");
    await editor.showLine(FILE, line, "output = model.generate");
    await editor.pressAbove("Debug Python with Its Models");
  });

  await step("its line stops, with the frames of Python", async () => {
    const begun = performance.now();
    await editor.stoppedAt(/^answer /, 60_000);
    measure("from the button to the first stop on a line of a program", performance.now() - begun);
    assert.equal(await editor.currentLine(FILE), line);
    for (const frame of ["main", "<module>"]) {
      await editor.frame(frame);
    }
  });

  await step("the status bar names the program, and the buttons of a model wait", async () => {
    await editor.status(/prompts\.py · Python · \d+ MiB/);
    const button = editor.page.locator('.debug-toolbar .action-label[aria-label*="Next Layer"]');
    await until(async () => (await button.getAttribute("aria-disabled")) === "true", "Next Layer to wait");
  });

  await step("tensors of Python have one line, and rows of their own", async () => {
    await editor.expand("Locals");
    await editor.value("prompt", /The capital of France is/);
    await editor.expand("inputs");
    await editor.value("input_ids", /^int64 \[1, 6\]/);
    const isBeside = async () => /prompt = 'The capital of France is'/.test(await editor.lineText(FILE, "inputs ="));
    await until(isBeside, "values beside the lines");
  });

  await step("the tree of modules says that there is no model yet", async () => {
    const modules = await editor.section("Modules");
    await modules.getByText("has not called a model yet").waitFor();
    await editor.section("Modules", false);
  });

  let panel;
  await step("a panel says that no model is called", async () => {
    panel = (await editor.openPanel("LLM: Show How the Token Is Chosen", "How the token is chosen")).page;
    await panel.getByText("stands in Python code").waitFor();
    await editor.picture("programs-outside", editor.panelTop(150));
  });

  await step("going on stops in a layer, above the frames of the program", async () => {
    await editor.press("continue");
    await editor.stoppedAt("model.layers.1", 60_000);
    for (const frame of ["step 0", "answer", "main"]) {
      await editor.frame(frame);
    }
    await editor.status(/prompts\.py · LlamaForCausalLM · cpu · token 0/);
  });

  await step("and the panel has come alive", async () => {
    await panel.getByText("Paris").first().waitFor();
    await editor.close("How the token is chosen");
    await editor.command("View: Move Editor into Right Group");
  });

  await step("program and map are side by side, at the lines of one stack", async () => {
    for (const section of ["Watch", "Breakpoints"]) {
      await editor.section(`${section} Section`, false);
    }
    await editor.page.setViewportSize({ width: 1240, height: 600 });
    await editor.focusFrame("model.layers.1 (before)");
    await editor.page.locator(`.monaco-editor[data-uri$=".llmmap"] .debug-top-stack-frame-line`).first().waitFor();
    await editor.focusFrame("answer");
    await editor.value("prompt", /The capital of France is/);
    await editor.picture("programs", undefined, () => editor.frame("main"));
    await editor.page.setViewportSize(WINDOW);
    await editor.focusFrame("model.layers.1 (before)");
  });

  await step("a step into its Python leads to its forward", async () => {
    await editor.moving(() => editor.command("Step Into Target"));
    await editor.answer("", { row: "forward (Python)" });
    await editor.stoppedAt("LlamaDecoderLayer.forward");
    assert.ok((await editor.currentLine(LLAMA)) > 0);
    await editor.expand("Locals");
    await editor.value("hidden_states", /float32/);
  });

  await step("steps by lines, and out of it into the model again", async () => {
    await editor.press("next");
    await editor.stoppedAt("LlamaDecoderLayer.forward");
    await editor.press("continue");
    await editor.stoppedAt(/^model\.layers\.1 /);
    await editor.frame("step 1");
  });

  await step("one goes back inside its generate", async () => {
    await editor.press("stepBack");
    await editor.stoppedAt("model.layers.0");
    await editor.toolbar("Previous Token");
    await editor.stoppedAt("model.layers.0");
    await editor.frame("step 0");
  });

  await step("without breakpoints it ends, with the answers of a run of its own", async () => {
    await editor.command("Remove All Breakpoints");
    await editor.press("continue");
    await editor.ended();
    const said = (await editor.console()).join("\n");
    const { stdout } = await promisify(execFile)(python, [program]);
    for (const answer of stdout.trim().split("\n")) {
      assert.ok(said.includes(answer), `${answer} in ${said}`);
    }
  });
}
