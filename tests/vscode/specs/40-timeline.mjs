import assert from "node:assert/strict";
import { until } from "../editor.mjs";
import { SESSION } from "../workspace.mjs";

export const title = "the timeline of a run";

export const configurations = [
  {
    ...SESSION,
    seed: 4,
    stopAtEnd: true,
    generation: { max_new_tokens: 40, do_sample: true, temperature: 2.6, top_k: 50 },
  },
];

export default async function ({ editor, step, measure }) {
  await editor.show("Run and Debug");
  await editor.functionBreakpoint("*.layers.1");
  await editor.start();
  await editor.stoppedAt("model.layers.1", 60_000);
  const { page, milliseconds } = await editor.openPanel("LLM: Show the Timeline", "Timeline");
  measure("first paint of the timeline panel, from the command", milliseconds);
  const steps = page.getByRole("slider", { name: "Step of the run" });
  const places = page.getByRole("slider", { name: "Place inside the step" });
  const value = (slider) => slider.getAttribute("aria-valuenow").then(Number);
  const travel = async (action, place) => {
    editor.awaited = editor.stops + 1;
    await action();
    return editor.stoppedAt(place);
  };
  const dragTo = async (from, to) => {
    const [start, end] = [await from.boundingBox(), await to.boundingBox()];
    await editor.page.mouse.move(start.x + start.width / 2, start.y + start.height / 2);
    await editor.page.mouse.down();
    await editor.page.mouse.move(end.x + end.width / 2, end.y + end.height / 2, { steps: 4 });
    await page.getByText(/^Travel to/).waitFor();
  };

  await step("it shows the step and the layer at which the run stands", async () => {
    assert.equal(await value(steps), 0);
    assert.equal(await places.getAttribute("aria-valuetext"), "model.layers.1");
    assert.match(await page.locator(".caption").innerText(), /Step 0, before model\.layers\.1/);
  });

  await step("the second scale is dragged to another layer, and nothing happens before it is let go", async () => {
    const stops = editor.stops;
    await dragTo(page.locator(".slot.present"), page.locator('[data-path="model.layers.4"]'));
    assert.equal(editor.stops, stops);
    await travel(() => editor.page.mouse.up(), "model.layers.4");
    await until(async () => (await places.getAttribute("aria-valuetext")) === "model.layers.4", "the new place");
  });

  await step("its arrow keys lead on, to where the token is chosen", async () => {
    await places.focus();
    await travel(() => editor.page.keyboard.press("End"), "sample");
  });

  await step("of a whole run every step can be travelled to", async () => {
    await editor.switchBreakpointOff();
    await editor.press("continue");
    await until(async () => (await value(steps)) === 39, "the last step");
    await page.getByText("at the end").waitFor();
  });

  await step("the arrow keys travel when they are let go", async () => {
    await steps.focus();
    await editor.page.keyboard.down("ArrowLeft");
    await editor.page.keyboard.down("ArrowLeft");
    await page.getByText(/^Travel to step 37/).waitFor();
    await travel(() => editor.page.keyboard.up("ArrowLeft"), "sample");
    await until(async () => (await value(steps)) === 37, "step 37");
    assert.match(await steps.getAttribute("aria-valuetext"), /^step 37: " \w+", [\d.]+ %$/);
  });

  await step("a drag over the chart travels too, and the steps that followed are still there", async () => {
    const box = await steps.boundingBox();
    const chart = await page.locator(".u-over").boundingBox();
    const width = chart.width / 40;
    await editor.page.mouse.move(chart.x + 37.5 * width, box.y + 60);
    await editor.page.mouse.down();
    await editor.page.mouse.move(chart.x + 12.5 * width, box.y + 60, { steps: 5 });
    await page.getByText(/^Travel to step 12/).waitFor();
    await travel(() => editor.page.mouse.up(), "sample");
    await until(async () => (await value(steps)) === 12, "step 12");
    assert.equal(await steps.getAttribute("aria-valuemax"), "39");
  });

  await step("Escape gives a travel up", async () => {
    await steps.focus();
    await editor.page.keyboard.down("ArrowRight");
    await page.getByText(/^Travel to step 13/).waitFor();
    await editor.page.keyboard.press("Escape");
    await editor.page.keyboard.up("ArrowRight");
    await page.getByText(/^step 12/).waitFor();
  });

  await step("the bars can be those of the entropy", async () => {
    await page.getByRole("combobox", { name: "Bars" }).selectOption("entropy");
    await page.getByText(/^step 12.*entropy/).waitFor();
    await page.getByRole("combobox", { name: "Bars" }).selectOption("probability");
  });

  await step("there is a table for screen readers", async () => {
    await page.getByText("As a table").click();
    await page.getByRole("row", { name: /Paris/ }).first().waitFor();
    await page.getByText("As a table").click();
  });

  await step("its pictures are taken", async () => {
    await editor.picture("timeline", editor.panelTop(400));
  });
}
