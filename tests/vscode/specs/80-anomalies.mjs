import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "../editor.mjs";
import { lineOf, MODEL, ROOT, SESSION } from "../workspace.mjs";

export const title = "anomalies: where a run stops, what is said of it, filters and their conditions, costs";

const MAP = "atlas.llmmap";
const WHERE = "model.layers.4.mlp.down_proj";
const FILTER = "Non-finite values";

export const configurations = [
  { ...SESSION, model: `\${workspaceFolder}/damaged`, map: `\${workspaceFolder}/${MAP}`, stopAtEnd: true },
];

/** A copy of the example model in which one number of one weight is NaN. */
const DAMAGE = `
import pathlib, shutil, sys
import safetensors.torch
shutil.copytree(sys.argv[1], sys.argv[2])
file = pathlib.Path(sys.argv[2]) / "model.safetensors"
weights = safetensors.torch.load_file(file)
weights[sys.argv[3]][3, 5] = float("nan")
safetensors.torch.save_file(weights, file, {"format": "pt"})
`;

export default async function ({ editor, folder, step, measure, python }) {
  const damaged = [MODEL, join(folder, "damaged"), `${WHERE}.weight`];
  await promisify(execFile)(python, ["-c", DAMAGE, ...damaged], { cwd: ROOT });
  const line = await lineOf(join(folder, MAP), new RegExp(`^\\s*${WHERE.replaceAll(".", "\\.")}\\s`));
  const input = editor.page.locator(".quick-input-widget");

  await step("a run of a damaged model stops at the module that makes NaN, and nothing was set", async () => {
    await editor.open(MAP);
    const begun = performance.now();
    await editor.start();
    await editor.stoppedAt(`${WHERE} (after)`, 60_000);
    measure("from F5 to the stop at NaN", performance.now() - begun);
    assert.equal(await editor.currentLine(MAP), line);
  });

  await step("VS Code's own widget says what was found, and where it comes from", async () => {
    const widget = editor.page.locator(".exception-widget");
    await widget.waitFor();
    const text = (await widget.innerText()).replace(/\s+/g, " ");
    assert.match(text, /^Exception has occurred: nonFinite/);
    assert.match(text, /NaN in what model\.layers\.4\.mlp\.down_proj \(Linear\) returns in step 0: 6 of 1,152 values/);
    assert.match(text, /down_proj\.weight has NaN at \[3, 5\], 1 of 98,304 values/);
  });

  await step("it is said in red beside the line, with the way back under the pointer", async () => {
    await until(
      async () => (await editor.lineText(MAP, `${WHERE} `)).includes("⚠ NaN: 6 of 1,152 values"),
      "the words beside the line",
    );
    const hover = await editor.hoverBeside(MAP, `${WHERE} `, "NaN: 6 of");
    assert.match(hover, /Non-finite values/);
    assert.match(hover, /The way back/);
    assert.match(hover, /addmm|linear|mm/);
    const box = await editor.textBox(MAP, `${WHERE} `);
    await editor.picture("anomaly", editor.part({ x: box.x - 150, y: box.y - 230, width: 1075, height: 330 }));
  });

  await step("the Timeline marks the step and the layer in red, and says the same", async () => {
    const { page } = await editor.openPanel("LLM: Show the Timeline", "Timeline");
    const banner = page.locator(".anomaly");
    await banner.getByText("6 of 1,152 values").waitFor();
    await page.locator("body.at-anomaly .slot.present").filter({ hasText: "4" }).waitFor();
    await banner.getByText("The way back").click();
    await banner
      .getByText(/has NaN at \[3, 5\]/)
      .last()
      .waitFor();
    await editor.picture("anomaly-timeline", editor.panelTop(480));
    await banner.getByText("The way back").click();
    await editor.close("Timeline");
  });

  await step("the filters stand above the breakpoints; the first two are on", async () => {
    const filters = await editor.filters();
    assert.equal(filters.length, 9);
    assert.equal(filters[0], FILTER);
    const on = await editor.filtersThatAreOn();
    assert.deepEqual(on, [FILTER, "Python exceptions in a forward"]);
  });

  await step("“Break When…” on a variable begins with its name and its size", async () => {
    await editor.expand("Output");
    await editor.menuOfVariable("output", "Break When…");
    const box = input.filter({ hasText: `Condition of the breakpoint at after:${WHERE}` });
    await box.waitFor();
    assert.match(await box.locator("input.input").inputValue(), /^output\.abs\(\)\.max\(\) > [\d.]+$/);
    await editor.type("output.abs().max() > 1e9", `after:${WHERE}`);
    await box.getByText("Enter sets it").waitFor();
    await editor.snapshot("break-when-dark", editor.part({ x: 400, y: 0, width: 760, height: 130 }));
    await editor.page.keyboard.press("Enter");
    await until(
      async () => (await editor.breakpoints()).some((row) => row.includes(`after:${WHERE}`) && row.includes("1e9")),
      "the breakpoint",
    );
  });

  await step("a variable without a name in conditions says so", async () => {
    await editor.expand("Parameters");
    await editor.menuOfVariable("weight", "Break When…");
    assert.match(await editor.notification("has no name"), /weight has no name in the language of conditions/);
    await editor.dismiss();
  });

  await step("a filter's condition is checked while it is typed", async () => {
    await editor.command("LLM: Edit the Condition of a Filter…");
    await editor.answer(FILTER, { row: FILTER, title: "Edit a filter" });
    await input.getByText("count > 0").first().waitFor();
    await editor.type("cuont > 3", FILTER);
    await input.getByText("did you mean 'count'").waitFor();
    await editor.snapshot("edit-filter-dark", editor.part({ x: 400, y: 0, width: 760, height: 130 }));
    await editor.type("nans > 1000", FILTER);
    await input.getByText("Enter sets it").waitFor();
    await editor.page.keyboard.press("Enter");
    await editor.notification("The condition is copied");
    await editor.dismiss();
  });

  await step("and pasted where VS Code keeps it; the run then ends without a stop", async () => {
    await editor.conditionOfFilter(FILTER, async (box) => {
      await box.press("Control+V");
      await until(async () => (await box.inputValue()) === "nans > 1000", "the condition in the box");
    });
    await until(async () => (await editor.filters())[0] === `${FILTER} nans > 1000`, "the condition beside the filter");
    await editor.press("continue");
    await editor.frame("end");
    await editor.showLine(MAP, line, `${WHERE} `);
    assert.doesNotMatch(await editor.lineText(MAP, `${WHERE} `), /⚠/);
  });

  await step("what each breakpoint costs is told", async () => {
    await editor.command("LLM: Show Breakpoint Costs");
    const box = input.filter({ hasText: "Breakpoint costs" });
    await box
      .locator(".monaco-list-row")
      .filter({ hasText: `after:${WHERE}` })
      .getByText(/% of a token's time/)
      .waitFor();
    await box
      .locator(".monaco-list-row")
      .filter({ hasText: FILTER })
      .getByText(/places · judged/)
      .waitFor();
    await editor.snapshot("breakpoint-costs-dark", editor.part({ x: 400, y: 0, width: 760, height: 220 }));
    await editor.page.keyboard.press("Escape");
  });

  await step("with a lower threshold the filter stops again", async () => {
    await editor.conditionOfFilter(FILTER, (box) => box.fill("nans > 0"));
    await until(async () => (await editor.filters())[0] === `${FILTER} nans > 0`, "the condition beside the filter");
    await editor.press("restart");
    await editor.stoppedAt(`${WHERE} (after)`, 60_000);
  });

  await step("switched off, it lets the run go to its end", async () => {
    await editor.switchFilter(FILTER);
    await editor.press("continue");
    await editor.frame("end");
    await editor.page.locator(".exception-widget").waitFor({ state: "detached" });
  });

  await step("a breakpoint on a name is set without scrolling past the filters", async () => {
    await editor.goToLine(1);
    await editor.command("LLM: Edit Model Breakpoint…");
    await editor.answer("New", { row: "New breakpoint on a name", title: "Edit a model breakpoint" });
    await editor.answer("*.layers.2", { title: "Name of the new breakpoint" });
    await until(async () => (await editor.breakpoints()).some((row) => row.includes("*.layers.2")), "the breakpoint");
  });

  await step("stopping ends the session", async () => {
    await editor.press("stop");
    await editor.ended();
  });
}
