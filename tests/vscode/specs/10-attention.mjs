import assert from "node:assert/strict";
import { until, WINDOW } from "../editor.mjs";
import { PROMPT, SESSION } from "../workspace.mjs";

export const title = "the attention panel";

const LONG = Array.from({ length: 800 }, () => "red lamp tree moon cup").join(" ");

export const configurations = [
  { ...SESSION, name: "Fact", prompt: PROMPT },
  { ...SESSION, name: "Copying", prompt: "cat tree lamp moon cat tree lamp" },
  { ...SESSION, name: "Long", prompt: LONG, generation: { max_new_tokens: 2 } },
];

export default async function ({ editor, step, measure }) {
  let page;

  const head = (name) => page.locator(`[data-head="${name}"]`);
  const heading = (text) => page.getByRole("heading", { name: text }).first().waitFor();
  /** The tokens of the strip as `{text, weight}`, the weight as it is said. */
  const strip = () =>
    page
      .locator(".strip")
      .first()
      .locator(".token")
      .evaluateAll((all) => all.map((each) => ({ text: each.textContent, says: each.title.split(": ").at(-1) })));
  const looksAt = (text, least) =>
    until(async () => {
      const found = (await strip()).find((token) => token.text === text);
      return found && Number.parseFloat(found.says) >= least;
    }, `the token to look at ${text}`).catch(async (error) => {
      throw new Error(`${error.message}; the strip is ${JSON.stringify(await strip())}`);
    });

  /** A picture of the whole panel, in a window in which it is wide. */
  const picture = async (name) => {
    const width = async () => (await editor.panelArea.boundingBox()).width;
    await editor.page.setViewportSize({ ...WINDOW, width: 3000 });
    await until(async () => (await width()) > 1100, "the panel to get wider");
    await editor.picture(name, page.locator("body"));
    await editor.page.setViewportSize(WINDOW);
    await until(async () => (await width()) < 1000, "the panel to get narrower");
  };

  await step("a copying prompt stops in its prefill", async () => {
    await editor.show("Run and Debug");
    await editor.functionBreakpoint("*.layers.1");
    await editor.start("Copying");
    await editor.stoppedAt("model.layers.1", 60_000);
  });

  await step("every head of the model is shown, the induction heads as such", async () => {
    const opened = await editor.openPanel("LLM: Show Attention", "Attention");
    page = opened.page;
    measure("first paint of the attention panel, from the command", opened.milliseconds);
    await page.getByText("6 layers × 6 heads").first().waitFor();
    assert.equal(await page.locator("button.head").count(), 36);
    for (const name of ["2.1", "3.3", "3.4", "3.5"]) {
      assert.match(await head(name).getAttribute("aria-label"), /induction (9\d|100)/, name);
    }
    assert.match(await head("1.1").getAttribute("aria-label"), /previous token 100 %/);
  });

  await step("an induction head looks at the token behind the last occurrence", async () => {
    await head("3.4").click();
    await heading("Head 3.4 · induction");
    await looksAt(" moon", 99);
    await picture("attention");
  });

  await step("a click on a token has that one look", async () => {
    await page.locator(".strip .token").filter({ hasText: "tree" }).last().click();
    await looksAt(" lamp", 90);
    const masked = (await strip()).at(-1);
    assert.deepEqual(masked, { text: " lamp", says: "masked" });
    await page.getByRole("button", { name: "the last token again" }).click();
    await looksAt(" moon", 99);
  });

  await step("a head is chosen by the arrow keys", async () => {
    await head("3.4").focus();
    await editor.page.keyboard.press("ArrowRight");
    await heading("Head 3.5");
    await editor.page.keyboard.press("ArrowUp");
    await heading("Head 2.5");
    await editor.page.keyboard.press("ArrowDown");
    await editor.page.keyboard.press("ArrowLeft");
    await heading("Head 3.4");
  });

  await step("the keys walk over the map and tell its weights", async () => {
    await page.getByRole("application").first().focus();
    for (const key of ["ArrowDown", "Shift+ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight"]) {
      await editor.page.keyboard.press(key);
    }
    const tip = page.locator(".tip").first();
    await until(
      async () => /lamp' at 7 → ' moon' at 4: (9\d|100)/.test(await tip.textContent()),
      "the weight of a cell",
    );
    await editor.page.keyboard.press("ArrowUp");
    await editor.page.keyboard.press("ArrowUp");
    await editor.page.keyboard.press("End");
    await until(async () => /cat' at 5 → ' moon' at 4/.test(await tip.textContent()), "another cell");
    await editor.page.keyboard.press("Enter");
    await until(async () => (await strip()).at(-1).says === "masked", "the chosen row");
    await page.getByRole("button", { name: "the last token again" }).click();
  });

  await step("heads are ordered and filtered", async () => {
    await page.getByLabel("Order").selectOption("entropy");
    await until(
      async () => /^1\.[1245]$/.test(await page.locator("button.head").first().getAttribute("data-head")),
      "the sharpest head",
    );
    await page.getByLabel("Kind of heads").selectOption("previous token");
    await until(async () => (await page.locator("button.head").count()) === 4, "heads of one kind");
    await page.getByLabel("Kind of heads").selectOption("");
    await page.getByLabel("Order").selectOption("layer");
  });

  await step("without the sink the rest is seen, and that is said", async () => {
    await page.getByLabel("Weights").selectOption("first");
    await page.getByText("without the first token: the rest of every row adds up to 100 % again").waitFor();
    await until(async () => (await strip())[0].says === "left out", "the first token to be left out");
    await page.getByLabel("Weights").selectOption("");
  });

  await step("a step of decoding has one row for every head", async () => {
    await editor.press("continue");
    await editor.stoppedAt("model.layers.1");
    await page.getByText("Step 1 ·").first().waitFor();
    await heading("All heads: where the last token looks");
    await heading("Head 3.4 · induction");
    await looksAt(" cat", 95);
    assert.equal(await page.locator("button.head").first().isVisible(), false);
    await picture("attention-decoding");
  });

  await step("an earlier token shows where it looked in its own step", async () => {
    await page.locator(".strip .token").filter({ hasText: "tree" }).last().click();
    await looksAt(" lamp", 90);
    await page.getByRole("button", { name: "the last token again" }).click();
    await looksAt(" cat", 95);
  });

  await step("two steps are compared", async () => {
    await page.getByLabel("Compare with step").first().fill("0");
    await page.getByLabel("Compare with step").first().press("Enter");
    await page.getByText("compared with step 0").waitFor();
    await page.getByText("Step 0: where ' lamp' at 7 looks").waitFor();
    await picture("attention-compared");
    await page.getByLabel("How steps are compared").selectOption("difference");
    await page.getByText("looks more, and less, than in step 0").waitFor();
    const moon = (await strip()).find(({ text }) => text === " moon");
    assert.match(moon.says, /^−(9\d|100)/);
    await picture("attention-difference");
  });

  await step("stepping back shows the step before again", async () => {
    await editor.press("reverseContinue");
    await editor.stoppedAt("model.layers.1");
    await page.getByText("Step 0 ·").first().waitFor();
    await page.getByLabel("Compare with step").first().fill("");
    await page.getByLabel("Compare with step").first().press("Enter");
    await looksAt(" moon", 99);
    await editor.press("stop");
    await editor.ended();
  });

  await step("a fact is looked up at its country", async () => {
    await editor.start("Fact");
    await editor.stoppedAt("model.layers.1", 60_000);
    await page.getByText("6 × 6 tokens").waitFor();
    await head("2.3").click();
    await looksAt(" France", 99);
    await editor.press("stop");
    await editor.ended();
  });

  await step("a text of 4,000 tokens is seen at once, and in full where it is zoomed into", async () => {
    await editor.start("Long");
    await editor.stoppedAt("model.layers.1", 120_000);
    const stopped = performance.now();
    await until(async () => (await strip()).length === 4001, "the strip over the text", 60_000);
    measure("from a stop to where the last of 4,001 tokens looks", performance.now() - stopped);
    const plot = page.getByRole("application").first();
    await plot.waitFor({ timeout: 60_000 });
    measure("from a stop to the map of 4,001 × 4,001 weights", performance.now() - stopped);
    await plot.focus();
    await editor.page.keyboard.press("ArrowDown");
    const zoomed = performance.now();
    for (let times = 0; times < 12; times++) {
      await editor.page.keyboard.press("+");
    }
    const tip = page.locator(".tip").first();
    await until(async () => /' at \d+ → .*' at \d+: [\d.]+ %$/.test(await tip.textContent()), "single cells", 60_000);
    measure("from zooming in to single ones of them", performance.now() - zoomed);
    await editor.page.keyboard.press("0");
    await page.locator("button.head").last().waitFor({ timeout: 120_000 });
    measure("from a stop to all heads of 4,001 tokens", performance.now() - stopped);
    await picture("attention-long");
    await editor.press("stop");
    await editor.ended();
  });
}
