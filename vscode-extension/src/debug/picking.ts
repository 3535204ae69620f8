// What a person is asked when a configuration leaves it open: `${command:llm.pickModel}`, `${command:llm.askPrompt}`.

import { dirname } from "node:path";
import * as vscode from "vscode";
import { downloadedModels, isModel } from "./models";

const LAST_MODEL = "lastModel";
const LAST_PROMPT = "lastPrompt";
const ELSEWHERE = "{**/node_modules/**,**/.venv/**,**/venv/**,**/site-packages/**}";
const MOST_FOLDERS = 200;

let memory: vscode.Memento | undefined;

interface ModelItem extends vscode.QuickPickItem {
  model?: string;
}

/** A model folder or hub id; undefined when the person gave up. */
export async function pickModel(): Promise<string | undefined> {
  const browse: ModelItem = { label: "$(folder-opened) Another folder…", alwaysShow: true };
  const pick = vscode.window.createQuickPick<ModelItem>();
  pick.title = "Debug a language model";
  pick.placeholder = "Pick a model, or type a folder or an id of the Hugging Face hub";
  pick.matchOnDescription = true;
  pick.busy = true;
  let found: ModelItem[] = [];
  const fill = (): void => {
    const typed = pick.value.trim();
    const own: ModelItem = { label: typed, description: "folder or hub id", model: typed, alwaysShow: true };
    const isKnown = typed === "" || found.some((item) => item.model === typed);
    pick.items = [...(isKnown ? [] : [own]), ...found, browse];
  };
  fill();
  pick.onDidChangeValue(fill);
  void modelItems().then((items) => {
    pick.busy = false;
    found = items;
    fill();
  });
  const chosen = await new Promise<ModelItem | undefined>((resolve) => {
    pick.onDidAccept(() => resolve(pick.selectedItems[0]));
    pick.onDidHide(() => resolve(undefined));
    pick.show();
  });
  pick.dispose();
  const model = chosen === browse ? await browseForModel() : chosen?.model;
  if (model) {
    await memory?.update(LAST_MODEL, model);
  }
  return model || undefined;
}

async function modelItems(): Promise<ModelItem[]> {
  const configs = await vscode.workspace.findFiles("**/config.json", ELSEWHERE, MOST_FOLDERS);
  const isOne = await Promise.all(configs.map((config) => isModel(config.fsPath)));
  const folders = configs.filter((_, index) => isOne[index]).map((config) => dirname(config.fsPath));
  const here = folders.sort().map((model) => ({
    label: `$(symbol-structure) ${vscode.workspace.asRelativePath(model)}`,
    model,
  }));
  const hub = (await downloadedModels()).map((model) => ({
    label: `$(cloud) ${model}`,
    description: "downloaded",
    model,
  }));
  const last = memory?.get<string>(LAST_MODEL);
  const items: ModelItem[] = [...here, ...hub];
  return items.sort((a, b) => Number(b.model === last) - Number(a.model === last));
}

async function browseForModel(): Promise<string | undefined> {
  const picked = await vscode.window.showOpenDialog({
    title: "Folder of a model, with its config.json",
    openLabel: "Debug",
    canSelectFiles: false,
    canSelectFolders: true,
  });
  return picked?.[0]?.fsPath;
}

/** The text that the model continues; undefined when the person gave up. */
export async function askPrompt(): Promise<string | undefined> {
  const last = memory?.get<string>(LAST_PROMPT);
  const prompt = await vscode.window.showInputBox({
    title: "Debug a language model",
    prompt: "Text that the model continues",
    placeHolder: "The capital of France is",
    ignoreFocusOut: true,
    ...(last !== undefined && { value: last }),
  });
  if (prompt) {
    await memory?.update(LAST_PROMPT, prompt);
  }
  return prompt || undefined;
}

export function registerPicking(context: vscode.ExtensionContext): void {
  memory = context.workspaceState;
  context.subscriptions.push(
    vscode.commands.registerCommand("llm.pickModel", pickModel),
    vscode.commands.registerCommand("llm.askPrompt", askPrompt),
  );
}
