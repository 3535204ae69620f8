// The folders that are opened in the editor.

import { execFile } from "node:child_process";
import { copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
export const MODEL = join(ROOT, "fixtures", "models", "atlas");
export const PROMPT = "The capital of France is";

export const SESSION = {
  type: "llm",
  request: "launch",
  name: "Example",
  model: MODEL,
  prompt: PROMPT,
  generation: { max_new_tokens: 5 },
};

/** The map of the example model, made once. */
export async function makeMap(file, python) {
  await run(python, ["-m", "dap_server", "map", MODEL, "-o", file], { cwd: ROOT });
  return file;
}

/**
 * A folder with a map, and a launch.json unless there are no configurations. `programs` of the fixtures are copied, beside a
 * link to the models, which they find from where they lie.
 */
export async function makeWorkspace(folder, map, { configurations = [SESSION], programs = [] } = {}) {
  await mkdir(join(folder, ".vscode"), { recursive: true });
  if (configurations.length > 0) {
    const launch = { version: "0.2.0", configurations };
    await writeFile(join(folder, ".vscode", "launch.json"), JSON.stringify(launch, null, 2));
  }
  await copyFile(map, join(folder, "atlas.llmmap"));
  if (programs.length > 0) {
    await mkdir(join(folder, "programs"));
    await symlink(join(ROOT, "fixtures", "models"), join(folder, "models"));
  }
  for (const name of programs) {
    await copyFile(join(ROOT, "fixtures", "programs", name), join(folder, "programs", name));
  }
  return folder;
}

/** The number of the first line of a file that matches, from 1. */
export async function lineOf(file, pattern) {
  const lines = (await readFile(file, "utf-8")).split("\n");
  const found = lines.findIndex((line) => pattern.test(line));
  if (found < 0) {
    throw new Error(`${file} has no line ${pattern}`);
  }
  return found + 1;
}
