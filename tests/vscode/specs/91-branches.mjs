import assert from "node:assert/strict";
import { until, WINDOW } from "../editor.mjs";
import { SESSION } from "../workspace.mjs";

export const title = "branches: a token is forced, the old future is kept, two are compared";

export const configurations = [{ ...SESSION, stopAtEnd: true, generation: { max_new_tokens: 8 } }];

export default async function ({ editor, step, measure }) {
  await editor.show("Run and Debug");
  await editor.start();
  await editor.stoppedAt("end", 60_000);
  const { page } = await editor.openPanel("LLM: Show the Generation", "Generation");
  const tokens = page.locator(".run [role=option]");
  const token = (text) => tokens.filter({ hasText: text }).first();
  const text = async () => (await tokens.allTextContents()).join("");
  const branches = page.getByRole("region", { name: "Branches" });
  const items = branches.locator("li");
  const present = branches.locator('li[aria-current="true"] > .head .name');
  const choices = page.getByRole("dialog");
  const first = await until(async () => ((await text()).includes("Paris") ? text() : ""), "the text");

  await step("a run has one way only, and nothing is said of branches", async () => {
    assert.ok(await branches.isHidden());
  });

  await step("the pointer goes over to what else a token could have been, and forces one", async () => {
    await token("Paris").hover();
    await choices.locator("tr.chosen").waitFor();
    const other = choices.getByRole("button", { name: /^Force/ }).first();
    const wanted = JSON.parse((await other.getAttribute("aria-label")).replace(/^Force /, ""));
    await editor.moving(() => other.click());
    await editor.stoppedAt("step");
    await until(async () => (await items.count()) === 2, "two branches");
    await editor.press("continue");
    await editor.stoppedAt("end");
    await until(async () => (await text()).includes(wanted), `${wanted} in the text`);
    assert.ok(!(await text()).includes(" Paris"));
  });

  await step("the tree has both, with what made the second one", async () => {
    await until(async () => (await present.innerText()) === "branch 2", "the second as the present one");
    await items.nth(1).locator(".edit").filter({ hasText: "the token = " }).waitFor();
    assert.match(await items.nth(0).locator(".pieces").first().innerText(), /Paris/);
  });

  await step("the first one is gone on with as it was left, to the last token", async () => {
    await editor.moving(() => branches.getByRole("button", { name: "Switch to branch 1" }).click());
    await editor.stoppedAt("end");
    await until(async () => (await text()) === first, `the first text, ${first}`);
    await until(async () => (await present.innerText()) === "branch 1", "the first as the present one");
  });

  await step("a token in words is forced by the keyboard, and what is none is said", async () => {
    const focused = page.locator(":focus");
    const field = page.getByRole("textbox", { name: "Force another token" });
    await token("Paris").focus();
    await choices.locator("tr.chosen").waitFor();
    await editor.page.keyboard.press("f");
    await until(async () => /^Force/.test((await focused.getAttribute("aria-label")) ?? ""), "the focus in the list");
    await field.fill("' Tokyyo'");
    await editor.page.keyboard.press("Enter");
    await page.locator(".notice").filter({ hasText: "Tokyyo" }).waitFor();
    await token("Paris").focus();
    await choices.locator("tr.chosen").waitFor();
    await field.fill("' Tokyo'");
    await editor.moving(() => editor.page.keyboard.press("Enter"));
    await editor.stoppedAt("step");
    await editor.press("continue");
    await editor.stoppedAt("end");
    await token("Tokyo").waitFor();
    await until(async () => (await items.count()) === 3, "three branches");
  });

  await step("a branch is given a name", async () => {
    await branches.getByRole("button", { name: "Rename branch 3" }).click();
    const input = branches.getByRole("textbox", { name: "Name of branch 3" });
    await input.fill("as if it were Japan");
    await input.press("Enter");
    await until(async () => (await present.innerText()) === "as if it were Japan", "the name");
  });

  const comparison = page.getByRole("region", { name: "Comparison" });
  await step("two are compared: the first token that differs, distributions, layers × positions", async () => {
    const begun = performance.now();
    await branches.getByRole("button", { name: "Compare branch 1" }).click();
    await comparison.getByText(/The first token that differs is that of step 0: " Paris" .* and " Tokyo"/).waitFor();
    measure("comparison of two branches of 8 tokens", performance.now() - begun);
    const row = comparison.locator("tr.first");
    assert.match(await row.innerText(), /0\s+" Paris"\s+[\d.> ]+ %\s+" Tokyo"/);
    await comparison.getByRole("application").focus();
    await editor.page.keyboard.press("ArrowDown");
    await editor.page.keyboard.press("ArrowRight");
    await comparison
      .locator(".tip")
      .filter({ hasText: /position \d+.*of the norm apart/ })
      .waitFor();
    await editor.page.setViewportSize({ ...WINDOW, height: 1150 });
    await editor.picture("branches", editor.panelArea);
    await editor.page.setViewportSize(WINDOW);
  });

  await step("another prompt is a branch of its own, and the first text is found again", async () => {
    await editor.moving(() => branches.getByRole("button", { name: "Switch to branch 1" }).click());
    await editor.stoppedAt("end");
    await until(async () => (await present.innerText()) === "branch 1", "the first as the present one");
    await editor.command("LLM: Another Prompt…");
    const box = editor.page.locator(".quick-input-widget");
    const input = box.filter({ hasText: "Another Prompt" }).locator("input.input");
    await until(async () => (await input.inputValue()) === "The capital of France is", "the prompt in the box");
    await editor.type("The capital of Japan is", "Another Prompt");
    await editor.moving(() => editor.page.keyboard.press("Enter"));
    await editor.stoppedAt("step");
    const name = "branch 4: 'The capital of Japan is'";
    await until(async () => (await present.innerText()) === name, "the branch of the prompt");
    const own = branches.locator('li[data-branch="4"]');
    await own.locator(".edit").filter({ hasText: "prompt = 'The capital of Japan is'" }).waitFor();
    await editor.press("continue");
    await editor.stoppedAt("end");
    await until(async () => (await text()).includes("The capital of Japan is Tokyo"), "its text");
    await editor.moving(() => branches.getByRole("button", { name: "Switch to branch 1" }).click());
    await editor.stoppedAt("end");
    await until(async () => (await text()) === first, `the first text, ${first}`);
  });

  await step("a branch is deleted, when it is asked for twice", async () => {
    await branches.getByRole("button", { name: "Delete branch 2" }).click();
    await branches.getByText("Delete for good?").click();
    await until(async () => (await items.count()) === 3, "three branches");
    await editor.press("stop");
    await editor.ended();
  });
}
