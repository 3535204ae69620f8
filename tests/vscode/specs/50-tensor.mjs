import { until } from "../editor.mjs";

export const title = "the tensor panel";

export default async function ({ editor, step, measure }) {
  let page;
  const tip = () => page.locator(".tip").first();
  const keys = async (...pressed) => {
    for (const key of pressed) {
      await editor.page.keyboard.press(key);
    }
  };
  const show = async (expression) => {
    await page.getByLabel("Expression of a tensor").fill(expression);
    await page.getByLabel("Expression of a tensor").press("Enter");
  };
  const caption = (text) => page.locator(".caption").filter({ hasText: text }).waitFor();

  await step("the run stops at the second layer", async () => {
    await editor.show("Run and Debug");
    await editor.functionBreakpoint("*.layers.1");
    await editor.start();
    await editor.stoppedAt("model.layers.1", 60_000);
    await editor.expand("Inputs");
  });

  await step("View Tensor in the context menu of a variable shows it", async () => {
    const begun = performance.now();
    await editor.menuOfVariable("hidden_states", "View Tensor");
    page = await editor.panel("Tensor");
    await page.locator("body[data-painted]").waitFor({ state: "attached" });
    measure("first paint of the tensor panel, from the context menu", performance.now() - begun);
    await caption("hidden_states · float32 [1, 6, 192] on cpu");
    await page.getByText("Farthest from 0").waitFor();
    await page.getByText("Quantiles").waitFor();
    await page.locator(".histogram canvas").waitFor();
    await editor.picture("tensor", editor.panelArea);
  });

  await step("the keys walk over the map and tell its numbers with their tokens", async () => {
    await page.getByRole("application").first().focus();
    await keys("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight");
    await until(
      async () => /^position \d+ '.*' · feature \d+: -?[\d.e-]+$/.test(await tip().textContent()),
      "a number",
    );
  });

  await step("an outlier is gone to, and it is the number that the table tells", async () => {
    const row = page
      .locator(".numbers tr")
      .filter({ has: page.locator("button.place") })
      .first();
    const [, position, feature] = /\[0, (\d+), (\d+)\]/.exec(await row.locator("button").innerText());
    const value = await row.locator("td").innerText();
    await row.locator("button").click();
    await until(
      async () => {
        const told = await tip().textContent();
        return told.startsWith(`position ${position} `) && told.endsWith(`feature ${feature}: ${value}`);
      },
      `${value} at ${position}, ${feature}; it is ${await tip().textContent()}`,
    );
  });

  await step("axes are chosen, others are cut", async () => {
    await show("torch.stack([hidden_states[0], -2 * hidden_states[0], hidden_states[0] * 0])");
    await caption("[3, 6, 192]");
    const largest = () =>
      page.locator(".numbers tbody tr").filter({ hasText: /^max/ }).locator("td").first().innerText();
    const first = Number(await largest());
    await page.getByLabel("Index of axis 0", { exact: false }).fill("2");
    await page.getByLabel("Index of axis 0", { exact: false }).press("Enter");
    await until(async () => Number(await largest()) === 0, "the slice of zeros");
    await page.getByLabel("Statistics").selectOption("whole");
    await until(async () => Number(await largest()) >= first, "the whole tensor");
    await page.getByLabel("Statistics").selectOption("page");
    await page.getByLabel("Rows", { exact: true }).selectOption("0");
    await page.getByLabel("Index of axis 1").waitFor();
    await page.getByRole("application").first().focus();
    await keys("ArrowDown");
    await until(async () => (await tip().textContent()).startsWith("axis 0 0 · axis 2 0"), "the other axes");
  });

  await step("what is not finite stands out and is told", async () => {
    await show("torch.tensor([[1.0, -2.0, float('nan')], [float('inf'), 0.5, float('-inf')]])");
    await caption("[2, 3]");
    await page.locator(".legend").filter({ hasText: "NaN" }).filter({ hasText: "+∞, −∞" }).waitFor();
    await page.getByRole("button", { name: "[0, 2]" }).click();
    await until(async () => (await tip().textContent()).endsWith(": NaN"), "NaN");
    await editor.picture("tensor-not-finite", editor.panelArea);
  });

  await step("a matrix of the model is seen coarsely at once, finer where it is zoomed into", async () => {
    await show("model.lm_head.weight");
    await caption("[2538, 192]");
    await page.getByText("the one farthest from 0").waitFor();
    await page.getByRole("application").first().focus();
    await keys("ArrowDown", "+", "+", "+", "+", "+", "+", "+", "+");
    await until(async () => /: -?[\d.e-]+$/.test(await tip().textContent()), "single numbers");
  });

  await step("the weight of a module is shown from its line of the map", async () => {
    await editor.menuOfLine(".llmmap", /self_attn\.k_proj/, "View Tensor");
    await page
      .locator(".caption")
      .filter({ hasText: /self_attn\.k_proj\.weight"\).*\[64, 192\]/ })
      .waitFor();
  });

  await step("at the next stop the same expression is shown", async () => {
    await show("hidden_states");
    await caption("hidden_states · float32 [1, 6, 192]");
    const norm = () => page.locator(".numbers tbody tr").filter({ hasText: /^norm/ }).locator("td").first().innerText();
    const before = await norm();
    await editor.press("next");
    await editor.stoppedAt("model.layers.2");
    await until(async () => (await norm()) !== before, "other numbers");
    await editor.press("stepBack");
    await editor.stoppedAt("model.layers.1");
    await until(async () => (await norm()) === before, "the numbers of before");
  });

  await step("what is no tensor, or not there, is said in words", async () => {
    await show("hiden_states");
    await page.getByText("did you mean").waitFor();
    await show("hidden_states.shape");
    await page.getByText("is no tensor").waitFor();
    await editor.press("stop");
    await editor.ended();
  });
}
