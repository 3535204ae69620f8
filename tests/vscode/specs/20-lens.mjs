import assert from "node:assert/strict";
import { until } from "../editor.mjs";
import { PROMPT, SESSION } from "../workspace.mjs";

export const title = "the lens panel";

const LONG = Array.from({ length: 12 }, () => "red lamp tree moon cup").join(" ");

export const configurations = [
  { ...SESSION, name: "Fact", prompt: PROMPT },
  { ...SESSION, name: "Long", prompt: LONG, generation: { max_new_tokens: 2 } },
];

export default async function ({ editor, step, measure }) {
  let page;
  const cell = (layer, column) => page.locator(`td[data-layer="${layer}"][data-column="${column}"]`);
  const text = (layer, column) => cell(layer, column).innerText();
  const says = (layer, column, word) =>
    until(async () => (await text(layer, column)) === word, `${word} in layer ${layer} at ${column}`);

  await step("the run stops in its prefill", async () => {
    await editor.show("Run and Debug");
    await editor.functionBreakpoint("*.layers.1");
    await editor.start("Fact");
    await editor.stoppedAt("model.layers.1", 60_000);
  });

  await step("the lens shows every layer at every position, the answer in the last one", async () => {
    const opened = await editor.openPanel("LLM: Show the Logit Lens", "Logit lens");
    page = opened.page;
    measure("first paint of the lens panel, from the command", opened.milliseconds);
    await page.getByText("6 layers × 6 positions").waitFor();
    await says(6, 5, "·Paris");
    assert.equal(await page.locator("table.lens tbody tr").count(), 7);
    assert.match(await page.locator("table.lens tfoot").innerText(), /·France/);
    assert.match(await page.locator("tr.here th").innerText(), /1/);
    assert.match(await page.locator(".details").innerText(), /After model\.layers\.5.*" Paris"/s);
  });

  await step("the tokens that are there stand above their layers", async () => {
    assert.match(await page.locator("table.lens thead").innerText(), /·capital.*·of.*·France.*·is/s);
  });

  await step("the keys walk over the table, and each cell tells its candidates", async () => {
    await cell(6, 5).focus();
    await editor.page.keyboard.press("ArrowDown");
    await page.locator(".details h2").filter({ hasText: "After model.layers.4" }).waitFor();
    await editor.page.keyboard.press("ArrowLeft");
    await page.locator(".details h2").filter({ hasText: '" France" at 4' }).waitFor();
    await editor.page.keyboard.press("PageDown");
    await page.locator(".details h2").filter({ hasText: "What goes into the first layer" }).waitFor();
    assert.equal((await page.locator(".details tbody tr").count()) >= 5, true);
    await editor.page.keyboard.press("End");
    await editor.page.keyboard.press("PageUp");
  });

  await step("a token is watched over the layers", async () => {
    await page.getByLabel("Watch a token").fill(" Paris");
    await page.getByLabel("Watch a token").press("Enter");
    await page.getByLabel("Watch a token").fill("nosuchtokenatall"); // while the first one is on its way
    await page.getByRole("button", { name: "Stop watching" }).waitFor();
    await page.locator(".curves canvas").nth(1).waitFor();
    const ranks = await until(async () => {
      const rows = await page.locator(".curves table.for-readers tbody tr").allTextContents();
      return rows.length === 7 && rows;
    }, "the curve of a token");
    assert.match(ranks.at(-1), /^51/);
    await page.getByLabel("Colours").selectOption("rank");
    await page.getByText("rank of the watched token").last().waitFor();
  });

  await step("what is no token is said", async () => {
    await page.getByLabel("Watch a token").press("Enter");
    await until(async () => (await page.locator(".watching .message").innerText()) !== "", "a word about it");
    assert.equal(await page.getByRole("button", { name: "Stop watching" }).count(), 1);
    await page.getByLabel("Watch a token").fill(" Belgrade");
    await page.getByLabel("Watch a token").press("Enter");
    await until(
      async () => (await page.getByRole("button", { name: "Stop watching" }).count()) === 2,
      "a second token",
    );
    await until(async () => (await page.getByLabel("Watch a token").inputValue()) === "", "an empty input");
    await page.getByLabel("Of which token").selectOption("1");
    await page.getByLabel("Colours").selectOption("probability");
    await editor.dismiss();
    await editor.picture("lens", editor.panelArea);
  });

  await step("Enter goes behind the layer of the cell", async () => {
    await cell(4, 5).focus();
    editor.awaited = editor.stops + 1;
    await editor.page.keyboard.press("Enter");
    await editor.stoppedAt("model.layers.3");
    await until(async () => /3/.test(await page.locator("tr.here th").innerText()), "the layer of the run");
  });

  await step("in decoding, earlier positions are marked as worked out again", async () => {
    await editor.press("continue");
    await editor.stoppedAt("model.layers.1");
    await page.getByText("Step 1 ·").waitFor();
    await page.getByText("7 positions").waitFor();
    assert.match(await page.locator("table.lens tfoot").innerText(), /·is\s+5 ≈/);
    assert.match(await page.locator("table.lens tfoot").innerText(), /·Paris\s+6(?! ≈)/);
    await page.getByText("from one forward over the whole text").waitFor();
    await page.getByLabel("exact everywhere").check();
    await until(async () => !(await page.locator("table.lens tfoot").innerText()).includes("≈"), "exact columns");
    await says(6, 5, "·Paris");
    await page.getByLabel("exact everywhere").uncheck();
    await until(async () => (await page.locator("table.lens tfoot").innerText()).includes("≈"), "quick columns");
  });

  await step("stepping back shows the step before again, a click an earlier one", async () => {
    editor.awaited = editor.stops + 1;
    await cell(3, 5).click();
    await editor.stoppedAt("model.layers.2");
    await page.getByText("Step 0 ·").waitFor();
    await page.getByText("6 positions").waitFor();
    await editor.press("stepBack");
    await editor.stoppedAt("model.layers.2");
    await editor.press("stop");
    await editor.ended();
  });

  await step("a long text comes by its positions, the last ones first", async () => {
    await editor.start("Long");
    await editor.stoppedAt("model.layers.1", 60_000);
    await page.getByText("61 positions, 37 to 60 shown").waitFor();
    assert.equal(await page.locator("table.lens tfoot th").count(), 25);
    await page.getByRole("button", { name: "Earlier positions" }).click();
    await page.getByText("61 positions, 13 to 60 shown").waitFor();
    await cell(6, 0).focus();
    await editor.page.keyboard.press("ArrowLeft");
    await until(async () => (await page.locator("table.lens tfoot th").count()) === 62, "all positions");
    await editor.press("stop");
    await editor.ended();
  });
}
