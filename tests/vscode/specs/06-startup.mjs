import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "../workspace.mjs";

export const title = "the extension costs nothing until it is needed";

const BUNDLES = join(ROOT, "vscode-extension", "dist");

export default async function ({ editor, step, measure }) {
  await step("its bundles are small, and the language client is in one of its own", async () => {
    const names = (await readdir(BUNDLES, { recursive: true })).filter((name) => /\.(js|css)$/.test(name));
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(BUNDLES, name))).size));
    const sum = sizes.reduce((a, b) => a + b, 0);
    assert.ok(sum <= 800 * 1024, `${sum} bytes`);
    assert.doesNotMatch(await readFile(join(BUNDLES, "extension.js"), "utf-8"), /vscode-jsonrpc|languageclient/i);
  });

  await step("it is not active in a window where nothing is debugged", async () => {
    assert.equal(await editor.activation("Language model debugger"), undefined);
  });

  await step("it is activated by a start, in a time that is measured", async () => {
    await editor.start();
    await editor.stoppedAt("", 60_000);
    const milliseconds = await editor.activation("Language model debugger");
    assert.ok(milliseconds !== undefined);
    measure("activation of the extension (at most 50 ms on a machine that does nothing else)", milliseconds);
  });
}
