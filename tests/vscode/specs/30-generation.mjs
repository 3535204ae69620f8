import assert from "node:assert/strict";
import { until } from "../editor.mjs";
import { SESSION } from "../workspace.mjs";

export const title = "the text as tokens";

const PROMPTS = [SESSION.prompt, "Question: What is the capital of France?\nAnswer:"];

export const configurations = [
  {
    ...SESSION,
    prompt: undefined,
    prompts: PROMPTS,
    seed: 2,
    stopAtEnd: true,
    generation: { max_new_tokens: 40, do_sample: true, temperature: 2.6, top_k: 50 },
  },
];

export default async function ({ editor, step, measure }) {
  await editor.show("Run and Debug");
  await editor.functionBreakpoint("*.layers.1");
  await editor.start();
  await editor.stoppedAt("model.layers.1", 60_000);
  const { page, milliseconds } = await editor.openPanel("LLM: Show the Generation", "Generation");
  measure("first paint of the generation panel, from the command", milliseconds);
  const tokens = page.locator(".run [role=option]");
  const token = (text) => tokens.filter({ hasText: text }).first();
  const present = page.locator(".run [aria-selected=true]");
  const shown = (text) =>
    until(async () => (await present.allTextContents()).join() === text, `${text} as the present token`);
  const travel = async (action, place) => {
    editor.awaited = editor.stops + 1;
    await action();
    return editor.stoppedAt(place);
  };

  await step("the prompt is shown in tokens, its padding as one, and the token that is being chosen", async () => {
    const texts = await tokens.allTextContents();
    assert.match(texts[0], /^<pad> × \d+$/);
    assert.deepEqual(texts.slice(1), ["<s>", "The", " capital", " of", " France", " is", "…"]);
    await shown("…");
    assert.ok(await page.getByRole("button", { name: "Previous token" }).isDisabled());
  });

  await step("Next token leads to the same layer of the next step, and shows what was chosen", async () => {
    await travel(() => page.getByRole("button", { name: "Next token" }).click(), "model.layers.1");
    await editor.frame("step 1");
    await token(" Paris").waitFor();
    assert.equal(await tokens.last().textContent(), "…");
  });

  const hasFocus = () => page.locator("body").evaluate(() => document.hasFocus());
  await step("the focus stays in the panel", async () => {
    await until(hasFocus, "the focus");
  });

  await step("P and N do the same from the keyboard", async () => {
    await travel(() => editor.page.keyboard.press("p"), "model.layers.1");
    await editor.frame("step 0");
    await shown(" Paris");
    await until(hasFocus, "the focus");
    await travel(() => editor.page.keyboard.press("n"), "model.layers.1");
    await editor.frame("step 1");
  });

  await step("the arrow keys look at tokens, and what else each could have been", async () => {
    // The stop gives the focus to the editor, from where it comes back: a key may be lost on the way.
    const focused = page.locator(":focus");
    const label = async () => ((await focused.count()) === 1 ? ((await focused.getAttribute("aria-label")) ?? "") : "");
    let seen = "";
    await until(
      async () => {
        await token("France").focus();
        await editor.page.keyboard.press("ArrowRight");
        await editor.page.keyboard.press("ArrowRight");
        seen = await label();
        return /^" Paris", step 0, [\d.]+ %$/.test(seen);
      },
      () => `the token of the step before, and not '${seen}'`,
    );
    const choices = page.getByRole("dialog");
    await choices.locator("tr.chosen").waitFor();
    assert.equal(await choices.locator("tr").count(), 10);
    assert.match(await choices.locator("tr.chosen").innerText(), /" Paris"\s+\d/);
    await editor.page.keyboard.press("Escape");
    await choices.waitFor({ state: "hidden" });
  });

  await step("at the end the whole text is there", async () => {
    await editor.switchBreakpointOff();
    await editor.press("continue");
    await until(async () => (await tokens.count()) === 47, "all tokens");
    await page.getByText("At the end").waitFor();
    assert.ok(await page.getByRole("button", { name: "Next token" }).isDisabled());
  });

  await step("a click on a token travels to where it was chosen; what followed is dimmed", async () => {
    await travel(() => token("Italian").click(), "sample");
    await shown(" Italian");
    assert.equal(await tokens.filter({ hasText: "Rome" }).evaluate((each) => each.classList.contains("future")), true);
    assert.equal(await token("Paris").evaluate((each) => each.classList.contains("future")), false);
  });

  await step("the colours can be those of the entropy", async () => {
    await page.getByRole("combobox", { name: "Colours" }).selectOption("entropy");
    await page.getByText("entropy of the choice").waitFor();
    await until(async () => (await page.locator(".run .known").count()) >= 15, "all entropies up to here");
    await editor.picture("generation-entropy", editor.panelTop(380));
    await page.getByRole("combobox", { name: "Colours" }).selectOption("probability");
  });

  await step("another sequence of the batch can be chosen", async () => {
    await page.getByRole("combobox", { name: "Sequence" }).selectOption("2");
    await until(async () => (await tokens.allTextContents()).join("").includes("Question: What is"), "the other text");
    assert.ok((await tokens.allTextContents()).includes("↵\n"));
    await page.getByRole("combobox", { name: "Sequence" }).selectOption("1");
    await token("Paris").waitFor();
  });

  await step("there is a table for screen readers", async () => {
    await page.getByText("As a table").click();
    await page.getByRole("row", { name: /Paris/ }).waitFor();
    await page.getByText("As a table").click();
  });

  await step("its pictures are taken", async () => {
    await editor.picture("generation", editor.panelTop(560), async () => {
      await token("Italian").hover();
      await page.locator("tr.chosen").waitFor();
    });
  });
}
