import assert from "node:assert/strict";
import { SESSION } from "../workspace.mjs";

export const title = "what is said when a start fails";
export const configurations = [
  { ...SESSION, name: "No model", model: "models/nowhere" },
  { ...SESSION, name: "No Python", python: "/nowhere/python" },
  { ...SESSION, name: "No debugger", python: "/usr/bin/python3" },
  { ...SESSION, name: "A wrong option", generation: { max_new_token: 5 } },
];

export default async function ({ editor, step }) {
  await step("a Python that is not there", async () => {
    await editor.start("No Python");
    assert.match(await editor.notification("There is no Python at /nowhere/python"), /Choose Python/);
    await editor.dismiss();
  });

  await step("a model that is not there", async () => {
    await editor.start("No model");
    await editor.notification("'models/nowhere' cannot be loaded");
    await editor.dismiss();
    await editor.ended();
  });

  await step("an option that does not exist", async () => {
    await editor.start("A wrong option");
    await editor.notification("max_new_token");
    await editor.dismiss();
    await editor.ended();
  });
}
