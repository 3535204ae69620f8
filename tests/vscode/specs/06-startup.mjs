import assert from "node:assert/strict";

export const title = "the extension costs nothing until it is needed";

export default async function ({ editor, step, measure }) {
  await step("it is not active in a window where nothing is debugged", async () => {
    assert.equal(await editor.activation("Language model debugger"), undefined);
  });

  await step("it is activated by a start in less than 50 ms", async () => {
    await editor.start();
    await editor.stoppedAt("", 60_000);
    const milliseconds = await editor.activation("Language model debugger");
    measure("activation of the extension", milliseconds);
    assert.ok(milliseconds < 50, `${milliseconds} ms`);
  });
}
