import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { until, WINDOW } from "../editor.mjs";
import { SESSION } from "../workspace.mjs";

export const title = "edits: menus of variables, VS Code's own Set Value, the list, its files";

export const configurations = [{ ...SESSION, stopAtEnd: true }];

const LAYER = "model.layers.1";

export default async function ({ editor, folder, step, measure }) {
  const box = editor.page.locator(".quick-input-widget");
  const rows = async () =>
    (await editor.texts(await editor.section("Edits"))).filter((text) => !text.startsWith("Nothing"));
  const listed = (...wanted) =>
    until(
      async () => {
        const found = await rows();
        return found.length === wanted.length && wanted.every((part, at) => found[at].includes(part));
      },
      `the edits ${JSON.stringify(wanted)}`,
    ).catch(async (error) => {
      throw new Error(`${error.message}; there are ${JSON.stringify(await rows())}`);
    });
  const token = (text) => editor.value("token", new RegExp(text));

  await step("a run stops behind the second layer, and nothing is edited", async () => {
    await editor.page.setViewportSize({ ...WINDOW, height: 1500 }); // so that all variables are in sight
    await editor.show("Run and Debug");
    for (const name of [`after:${LAYER}`, "sample"]) {
      await editor.functionBreakpoint(name);
    }
    await editor.start();
    await editor.stoppedAt(`${LAYER} (after)`, 60_000);
    await editor.section("Watch Section", false);
    await editor.section("Loaded Scripts Section", false);
    await editor.section("Breakpoints Section", false);
    const edits = await editor.section("Edits");
    await edits.getByText("Nothing is changed in this run").waitFor();
  });

  await editor.expand("Output");
  const before = await editor.value("output", / in \[/);
  const asBefore = () =>
    until(async () => (await editor.value("output", / in \[/)) === before, "the numbers of before, to the last digit");
  const largest = (value) =>
    Math.max(
      ...value
        .match(/ in \[(.+), (.+)\]/)
        .slice(1)
        .map((bound) => Math.abs(Number(bound))),
    );

  await step("“Scale…” in the menu of a tensor checks what is typed, and scales it", async () => {
    await editor.menuOfVariable("output", "Scale…");
    await editor.type("twice", "Scale output");
    await box.getByText("A number, such as").waitFor();
    await editor.type("2", "Scale output");
    const begun = performance.now();
    await editor.moving(() => editor.page.keyboard.press("Enter"));
    await editor.stoppedAt(`${LAYER} (after)`);
    measure("from Enter to the stop in the edited run", performance.now() - begun);
    await listed(`scale output of ${LAYER} by 2`);
    const now = await until(async () => {
      const value = await editor.value("output", / in \[/);
      return value !== before && value;
    }, "other numbers");
    assert.ok(Math.abs(largest(now) / largest(before) - 2) < 1e-3, `${before} and ${now}`);
  });

  await step("what it did is told where the pointer rests on it", async () => {
    const edits = await editor.section("Edits");
    await edits.locator(".monaco-list-row").first().hover();
    await editor.page
      .locator(".workbench-hover, .monaco-hover")
      .getByText(/of the probability moved/)
      .first()
      .waitFor();
    await editor.page.mouse.move(WINDOW.width - 40, 400);
  });

  await step("its box in the list switches it off, and on", async () => {
    const edits = await editor.section("Edits");
    await editor.moving(() => edits.locator(".custom-view-tree-node-item-checkbox").first().click());
    await editor.stoppedAt(`${LAYER} (after)`);
    await asBefore();
    await editor.moving(() => edits.locator(".custom-view-tree-node-item-checkbox").first().click());
    await editor.stoppedAt(`${LAYER} (after)`);
    await until(async () => (await editor.value("output", / in \[/)) !== before, "the edited numbers");
  });

  await step("the arrow behind it takes it back", async () => {
    const edits = await editor.section("Edits");
    await edits.locator(".monaco-list-row").first().hover();
    await editor.moving(() => edits.locator(".monaco-list-row .action-label[aria-label*='Undo This Edit']").click());
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed();
    await asBefore();
  });

  await step("a tensor is set to zero, and the menu undoes it", async () => {
    await editor.moving(() => editor.menuOfVariable("output", "Set to Zero"));
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed(`zero output of ${LAYER}`);
    await editor.value("output", /0 ± 0 in \[0, 0\]/);
    await editor.moving(() => editor.menuOfVariable("output", "Undo the Last Edit"));
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed();
    await asBefore();
  });

  await step("VS Code's own Set Value takes an expression for a tensor", async () => {
    await editor.setValue("output", "output * 3");
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed(`output of ${LAYER} = `);
    await until(async () => {
      const now = await editor.value("output", / in \[/);
      return Math.abs(largest(now) / largest(before) - 3) < 1e-3;
    }, "three times the numbers");
    await editor.moving(() => editor.menuOfVariable("output", "Undo the Last Edit"));
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed();
  });

  await step("a head of the scope Attention is ablated", async () => {
    await editor.expand("Attention");
    await editor.menuOfVariable("head 2", "Ablate Head…");
    const input = box.filter({ hasText: `Ablate heads of ${LAYER}` }).locator("input.input");
    await until(async () => (await input.inputValue()) === "2", "its number in the box");
    await editor.type("2, 9", "Ablate heads");
    await editor.page.keyboard.press("Enter");
    await box.getByText(/head/).nth(1).waitFor(); // there are six: the debugger says so, and the box stays
    await editor.type("2, 3", "Ablate heads");
    await editor.moving(() => editor.page.keyboard.press("Enter"));
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed("heads 2, 3");
  });

  await step("values of another prompt take the place of this one's at a token", async () => {
    await editor.menuOfVariable("output", "Patch from Another Prompt…");
    await box.filter({ hasText: "Positions to patch" }).waitFor();
    const isChosen = async () => (await box.locator(".quick-input-count").innerText()).startsWith("1");
    await until(async () => {
      await box
        .locator(".monaco-list-row")
        .filter({ hasText: '" France"' })
        .locator(".monaco-icon-label")
        .first()
        .click();
      return until(isChosen, "its box", 1500).catch(() => false);
    }, "the position to be chosen");
    await editor.page.keyboard.press("Enter");
    await editor.answer("The capital of Japan is", { title: "from another prompt" });
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed("heads 2, 3", `patch output of ${LAYER}`);
  });

  await step("the list is saved, emptied and loaded again", async () => {
    const file = join(folder, "edits.json");
    await editor.command("LLM: Save Edits…");
    await editor.path(file, "Save the edits");
    await until(async () => JSON.parse(await readFile(file, "utf-8")).edits.length === 2, "the file");
    await editor.moving(() => editor.command("LLM: Undo All Edits"));
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed();
    await editor.command("LLM: Load Edits…");
    await editor.moving(() => editor.path(file, "Load edits"));
    await editor.stoppedAt(`${LAYER} (after)`);
    await listed("heads 2, 3", `patch output of ${LAYER}`);
  });

  await step("pictures of the list", async () => {
    await editor.picture("edits", await editor.section("Edits"));
  });

  await step("the answer is the other one's", async () => {
    await editor.press("continue");
    await editor.stoppedAt("sample");
    await editor.expand("Sampling");
    await token("Tokyo");
  });

  await step("VS Code's own Set Value makes the token another one, and refuses what is none", async () => {
    await editor.setValue("token", "' Rome'");
    await editor.stoppedAt("sample");
    await token("Rome");
    await listed("heads 2, 3", "patch", "' Rome'");
    await editor.setValue("token", "' Tokyyo'");
    await editor.page.getByText("' Tokyyo' is no single token").first().waitFor();
    await editor.page.keyboard.press("Escape");
    await listed("heads 2, 3", "patch", "' Rome'");
  });

  await step("stopping ends the session", async () => {
    await editor.press("stop");
    await editor.ended();
  });
}
