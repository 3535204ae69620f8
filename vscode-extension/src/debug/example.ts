// "Make an Example Workspace": for who has installed llm-dap and has no model yet.

import * as vscode from "vscode";
import { exampleLaunch, SMALL_MODEL } from "./exampleLaunch";
import { isModel } from "./models";
import { pickModel } from "./picking";

interface Choice extends vscode.QuickPickItem {
  model?: string;
}

/** Asks for a model and a folder, writes a launch.json there, unless there is one, and opens the folder. */
export async function makeExample(): Promise<void> {
  const model = await chooseModel();
  const picked =
    model === undefined
      ? undefined
      : await vscode.window.showOpenDialog({
          title: "Folder for the example: a new or an empty one",
          openLabel: "Use This Folder",
          canSelectFiles: false,
          canSelectFolders: true,
        });
  const folder = picked?.[0];
  if (model === undefined || folder === undefined) {
    return;
  }
  const file = vscode.Uri.joinPath(folder, ".vscode", "launch.json");
  if (await exists(file)) {
    const text = "This folder has a launch.json already, which is left as it is.";
    if ((await vscode.window.showWarningMessage(text, "Open the Folder")) === undefined) {
      return;
    }
  } else {
    await vscode.workspace.fs.writeFile(file, new TextEncoder().encode(exampleLaunch(model)));
  }
  await vscode.commands.executeCommand("vscode.openFolder", folder);
}

async function chooseModel(): Promise<string | undefined> {
  const choices: Choice[] = [
    ...(await examples()),
    { label: `$(cloud) ${SMALL_MODEL.id}`, description: SMALL_MODEL.said, model: SMALL_MODEL.id },
    { label: "$(search) Another model…", description: "a folder, or an id of the Hugging Face hub" },
  ];
  const chosen = await vscode.window.showQuickPick(choices, {
    title: "Make an example workspace",
    placeHolder: "Which model is to be debugged?",
  });
  return chosen && (chosen.model ?? pickModel());
}

/** The example model lies in the repository of llm-dap, which may be what is open. */
async function examples(): Promise<Choice[]> {
  const configs = await vscode.workspace.findFiles("**/fixtures/models/atlas/config.json", undefined, 1);
  const found = await Promise.all(configs.map((config) => isModel(config.fsPath)));
  return configs
    .filter((_, index) => found[index])
    .map((config) => ({
      label: "$(symbol-structure) atlas",
      description: "the example model of this repository",
      model: vscode.Uri.joinPath(config, "..").fsPath,
    }));
}

async function exists(file: vscode.Uri): Promise<boolean> {
  return vscode.workspace.fs.stat(file).then(
    () => true,
    () => false,
  );
}

export function registerExample(context: vscode.ExtensionContext): void {
  context.subscriptions.push(vscode.commands.registerCommand("llm.makeExample", makeExample));
}
