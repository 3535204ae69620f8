import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { MODEL } from "../workspace.mjs";

export const title = "a map where there is none, and the condition of a function breakpoint";

export default async function ({ editor, folder, step }) {
  await step("the map of a model that is picked is made and opened", async () => {
    await rm(join(folder, "atlas.llmmap"));
    await editor.command("LLM: Open Model Map");
    await editor.answer(MODEL, { title: "Debug a language model" });
    await editor.page.locator(".tab.active").filter({ hasText: "atlas.llmmap" }).waitFor({ timeout: 60_000 });
    assert.match(await editor.lineText("atlas.llmmap", "# class: "), /LlamaForCausalLM/);
  });

  await step("a function breakpoint has a box that checks as well", async () => {
    await editor.command("View: Close All Editors");
    await editor.show("Run and Debug");
    await editor.functionBreakpoint("*.mlp");
    await editor.command("LLM: Edit Model Breakpoint…");
    await editor.answer("*.mlp", { row: "*.mlp", title: "Edit a model breakpoint" });
    await editor.answer("Condition", { title: "Breakpoint at *.mlp" });
    await editor.type("nrm > 30", "Condition of the breakpoint at *.mlp");
    const box = editor.page.locator(".quick-input-widget");
    await box.getByText("did you mean 'norm'").waitFor();
    await editor.type("norm > 30", "Condition of the breakpoint at *.mlp");
    await box.getByText("Enter sets it").waitFor();
    await editor.page.keyboard.press("Enter");
    await box.waitFor({ state: "hidden" });
    await editor.command("LLM: Edit Model Breakpoint…");
    await box.getByText("norm > 30").first().waitFor();
    await editor.page.keyboard.press("Escape");
  });
}
