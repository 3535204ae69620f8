import assert from "node:assert/strict";
import { MODEL } from "../workspace.mjs";

export const title = "debugging without a launch.json";
export const configurations = [];

export default async function ({ editor, step }) {
  await step("a command asks for a model and a prompt, and starts", async () => {
    await editor.command("LLM: Debug a Language Model…");
    await editor.answer(MODEL, { title: "Debug a language model" });
    await editor.answer("The capital of Japan is", { title: "Text that the model continues" });
    await editor.stoppedAt("end of the generation", 60_000);
  });

  await step("the prompt is what was typed", async () => {
    assert.ok((await editor.console()).join("\n").includes("The capital of Japan is Tokyo"));
    await editor.press("stop");
    await editor.ended();
  });

  await step("F5 in a map knows the model, and asks for the prompt alone", async () => {
    await editor.open("atlas.llmmap");
    await editor.start();
    await editor.answer("The capital of Spain is", { title: "Text that the model continues" });
    await editor.stoppedAt("end of the generation", 60_000);
    assert.ok((await editor.console()).join("\n").includes("The capital of Spain is Madrid"));
    await editor.press("stop");
    await editor.ended();
  });
}
