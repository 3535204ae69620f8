// The folders that are opened in the editor.

import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
export const MODEL = join(ROOT, "fixtures", "models", "atlas");
export const PROMPT = "The capital of France is";

const SESSION = {
  type: "llm",
  request: "launch",
  name: "Example",
  model: MODEL,
  prompt: PROMPT,
  generation: { max_new_tokens: 5 },
};

/** A folder with a launch.json of one configuration, and the map of the example model, where maps can be made. */
export async function makeWorkspace(folder, python, configurations = [SESSION]) {
  await mkdir(join(folder, ".vscode"), { recursive: true });
  const launch = { version: "0.2.0", configurations };
  await writeFile(join(folder, ".vscode", "launch.json"), JSON.stringify(launch, null, 2));
  await writeFile(join(folder, "notes.txt"), "A workspace made by the end-to-end test.\n");
  const map = join(folder, "atlas.llmmap");
  const environment = { ...process.env, HF_HUB_OFFLINE: "1" };
  await run(python, ["-m", "dap_server", "map", MODEL, "-o", map], { env: environment }).catch(() => undefined);
  return folder;
}

export { SESSION };
