import assert from "node:assert/strict";
import { until } from "../editor.mjs";

export const title = "the sweep: where a fact sits";

export default async function ({ editor, step, measure }) {
  await editor.show("Run and Debug");
  await editor.functionBreakpoint("sample");
  await editor.start();
  await editor.stoppedAt("sample", 60_000);
  const { page, milliseconds } = await editor.openPanel("LLM: Sweep…", "Sweep");
  measure("first paint of the sweep panel, from the command", milliseconds);
  const map = page.getByRole("application");
  const tip = page.locator(".tip");

  await step("without a prompt it says what is missing", async () => {
    await page.getByRole("button", { name: "Sweep" }).click();
    await page.locator(".notice").filter({ hasText: "Type the prompt" }).waitFor();
  });

  await step("values of another prompt at every layer and position: the answer moves", async () => {
    await page.getByRole("textbox", { name: "Prompt to take values from" }).fill("The capital of Japan is");
    const begun = performance.now();
    await page.getByRole("textbox", { name: "Prompt to take values from" }).press("Enter");
    await page
      .locator(".caption")
      .filter({ hasText: /" Tokyo" against " Paris" · unchanged .* with the other prompt/ })
      .waitFor();
    measure("a sweep over 7 × 6 places", performance.now() - begun);
  });

  const tell = async (row, column) => {
    await map.focus();
    await editor.page.keyboard.press("Escape");
    for (const key of [...Array(row + 1).fill("ArrowDown"), ...Array(column).fill("ArrowRight")]) {
      await editor.page.keyboard.press(key);
    }
    return tip.textContent();
  };

  await step("in the early layers the fact sits at the country, in the last one at the end", async () => {
    const percent = (told) => Number(/([\d.]+) %$/.exec(told)[1]);
    const early = await tell(1, 4);
    assert.match(early, /behind model\.layers\.0, position 4 " France": /);
    assert.ok(percent(early) > 50, early);
    const late = await tell(6, 4);
    assert.match(late, /behind model\.layers\.5, position 4 " France": /);
    assert.ok(percent(late) < 5, late);
    const end = await tell(6, 5);
    assert.ok(percent(end) > 90, end);
  });

  await step("the share that is recovered can be seen instead, and as a table", async () => {
    await page.getByRole("combobox", { name: "Colours" }).selectOption("recovered");
    await until(async () => (await page.locator(".legend").innerText()).includes("share recovered"), "the other scale");
    await page.getByText("As a table").click();
    await page.getByRole("row", { name: /model\.layers\.5/ }).waitFor();
    await page.getByText("As a table").click();
    await page.getByRole("combobox", { name: "Colours" }).selectOption("probability");
  });

  await step("pictures", async () => {
    await editor.picture("sweep", editor.panelTop(530));
  });

  await step("a place is made part of the run, and the token is the other one", async () => {
    await tell(1, 4);
    await editor.page.keyboard.press("Enter");
    await editor.moving(() => page.getByRole("button", { name: /^Make this edit/ }).click());
    await editor.stoppedAt("sample");
    await editor.expand("Sampling");
    await editor.value("token", /Tokyo/);
    await editor.press("stop");
    await editor.ended();
  });
}
