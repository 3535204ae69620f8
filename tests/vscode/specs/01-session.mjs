import assert from "node:assert/strict";

export const title = "a session, from F5 to its end";

export default async function ({ editor, step, measure }) {
  await step("a function breakpoint is set before anything runs", async () => {
    await editor.show("Run and Debug");
    await editor.functionBreakpoint("*.layers.1");
  });

  await step("F5 stops at the second layer of the example model", async () => {
    const begun = performance.now();
    await editor.start();
    assert.match(await editor.stoppedAt("model.layers.1", 60_000), /model\.layers\.1/);
    measure("from F5 to the first stop on the example model", performance.now() - begun);
  });

  await step("the stack shows the modules, the step and the history", async () => {
    await editor.frame("step 0");
    await editor.frame("history");
  });

  await step("the variables of a module can be opened", async () => {
    await editor.expand("Inputs");
    const names = (await editor.variables()).map((row) => row.name);
    assert.ok(names.includes("hidden_states"), JSON.stringify(await editor.variables()));
  });

  await step("stepping over leads to the next layer", async () => {
    await editor.press("next");
    await editor.stoppedAt("model.layers.2");
  });

  await step("stepping back leads to the layer before", async () => {
    await editor.press("stepBack");
    await editor.stoppedAt("model.layers.1");
  });

  await step("how the token is chosen is shown beside the code", async () => {
    const { page, milliseconds } = await editor.openPanel(
      "LLM: Show How the Token Is Chosen",
      "How the token is chosen",
    );
    measure("first paint of the sampling panel, from the command", milliseconds);
    await page.getByText("Paris", { exact: false }).first().waitFor();
    await editor.picture("sampling", editor.panelArea);
  });

  await step("going on leads to the same layer of the next step", async () => {
    await editor.press("continue");
    await editor.stoppedAt("model.layers.1");
    await editor.frame("step 1");
  });

  await step("stopping ends the session", async () => {
    await editor.press("stop");
    await editor.ended();
  });
}
