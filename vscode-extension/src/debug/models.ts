// Where models lie on this machine. Knows no editor.

import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Whether a config.json is that of a model in transformers' format. */
export async function isModel(configFile: string): Promise<boolean> {
  try {
    const config: unknown = JSON.parse(await readFile(configFile, "utf-8"));
    return typeof config === "object" && config !== null && ("model_type" in config || "architectures" in config);
  } catch {
    return false;
  }
}

/** Ids of the models that were downloaded from the Hugging Face hub before, by name. */
export async function downloadedModels(environment: NodeJS.ProcessEnv = process.env): Promise<string[]> {
  const home = environment.HF_HOME ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  const folder = environment.HF_HUB_CACHE ?? join(home, "hub");
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => name.startsWith("models--"))
    .map((name) => name.slice("models--".length).replaceAll("--", "/"))
    .sort();
}

/** A model that is named beside some folders: where it lies, else as it was named, which may be an id of the hub. */
export function locate(model: string, folders: readonly string[]): string {
  const places = folders.map((folder) => resolve(folder, model));
  return places.find((place) => existsSync(join(place, "config.json"))) ?? model;
}

/** What a hub id looks like: `name` or `owner/name`. */
export function isHubId(text: string): boolean {
  return /^[\w.-]+(\/[\w.-]+)?$/.test(text) && !text.startsWith(".");
}
