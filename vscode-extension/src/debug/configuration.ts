// From F5 to a complete configuration: what is missing is asked for, and what cannot work is said before it starts.

import { dirname } from "node:path";
import * as vscode from "vscode";
import { mapHeader } from "../language/header";
import { locate } from "./models";
import { askPrompt, pickModel } from "./picking";
import { readyPython } from "./python";

export const OUR_TYPE = "llm";
/** Where the configuration carries the interpreter that was found; the adapter leaves such keys alone. */
export const PYTHON_KEY = "__python";

const FIRST: vscode.DebugConfiguration = {
  type: OUR_TYPE,
  request: "launch",
  name: "Debug a language model",
  model: "${command:llm.pickModel}",
  prompt: "${command:llm.askPrompt}",
};

export class LaunchProvider implements vscode.DebugConfigurationProvider {
  provideDebugConfigurations(): vscode.DebugConfiguration[] {
    return [FIRST];
  }

  /** Runs before `${…}` is replaced; an F5 without any launch.json gives an empty configuration. */
  async resolveDebugConfiguration(
    _folder: vscode.WorkspaceFolder | undefined,
    given: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    if (!isTrusted()) {
      return undefined;
    }
    const config = given.type || given.request || given.name ? given : { ...given, ...FIRST, model: modelOfOpenMap() };
    if (config.request !== "launch") {
      return config;
    }
    const model = config.model || "${command:llm.pickModel}";
    const hasInput = ["prompt", "prompts", "messages"].some((name) => config[name] !== undefined);
    return { ...config, model, ...(hasInput ? {} : { prompt: FIRST.prompt }) };
  }

  async resolveDebugConfigurationWithSubstitutedVariables(
    folder: vscode.WorkspaceFolder | undefined,
    config: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    const python = await readyPython(folder, config.python);
    if (python === undefined) {
      return undefined;
    }
    const cwd = config.cwd ?? folder?.uri.fsPath;
    return { ...config, ...(cwd !== undefined && { cwd }), [PYTHON_KEY]: python };
  }
}

/** VS Code asks for trust by itself before it starts a session; this holds where it would not. */
function isTrusted(): boolean {
  if (vscode.workspace.isTrusted) {
    return true;
  }
  void vscode.window.showErrorMessage("Debugging a model runs code of this workspace: trust the workspace first.");
  return false;
}

/** A map that is looked at when F5 is pressed tells which model is meant, by a path from the workspace or from its folder. */
function modelOfOpenMap(): string | undefined {
  const document = vscode.window.activeTextEditor?.document;
  const model = document?.languageId === "llmmap" ? mapHeader(document.getText()).model : undefined;
  if (document === undefined || model === undefined) {
    return undefined;
  }
  const folders = vscode.workspace.workspaceFolders?.map((folder) => folder.uri.fsPath) ?? [];
  return locate(model, [...folders, dirname(document.uri.fsPath)]);
}

async function debugModel(): Promise<void> {
  const folder = vscode.workspace.workspaceFolders?.[0];
  const model = modelOfOpenMap() ?? (await pickModel());
  const prompt = model && (await askPrompt());
  if (prompt) {
    await vscode.debug.startDebugging(folder, { ...FIRST, model, prompt });
  }
}

export function registerConfiguration(context: vscode.ExtensionContext): void {
  const provider = new LaunchProvider();
  const { Initial, Dynamic } = vscode.DebugConfigurationProviderTriggerKind;
  context.subscriptions.push(
    vscode.debug.registerDebugConfigurationProvider(OUR_TYPE, provider, Initial),
    vscode.debug.registerDebugConfigurationProvider(OUR_TYPE, provider, Dynamic),
    vscode.commands.registerCommand("llm.debugModel", debugModel),
  );
}
