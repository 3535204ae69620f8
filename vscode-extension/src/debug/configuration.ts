// From F5 to a complete configuration: what is missing is asked for, and what cannot work is said before it starts.

import { dirname } from "node:path";
import * as vscode from "vscode";
import { mapHeader } from "../language/header";
import { locate } from "./models";
import { askPrompt, pickModel } from "./picking";
import {
  attachConfiguration,
  kindOf,
  programConfiguration,
  programPath,
  readConnect,
  USUAL_PORT,
  workingFolder,
} from "./programConfiguration";
import { offeredPrograms, openProgram, saveProgram } from "./programs";
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
    const address = { host: "127.0.0.1", port: USUAL_PORT };
    return [FIRST, programConfiguration("${file}"), attachConfiguration(address)];
  }

  /** Runs before `${…}` is replaced; an F5 without any launch.json gives an empty configuration. */
  async resolveDebugConfiguration(
    _folder: vscode.WorkspaceFolder | undefined,
    given: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    if (!isTrusted()) {
      return undefined;
    }
    const config = given.type || given.request || given.name ? given : { ...given, ...whatIsOpen() };
    switch (kindOf(config)) {
      case "model": {
        const model = config.model || "${command:llm.pickModel}";
        const hasInput = ["prompt", "prompts", "messages"].some((name) => config[name] !== undefined);
        return { ...config, model, ...(hasInput ? {} : { prompt: FIRST.prompt }) };
      }
      case "attach":
        return { ...config, connect: config.connect ?? "${command:llm.askAddress}" };
      default:
        return config;
    }
  }

  async resolveDebugConfigurationWithSubstitutedVariables(
    folder: vscode.WorkspaceFolder | undefined,
    given: vscode.DebugConfiguration,
  ): Promise<vscode.DebugConfiguration | undefined> {
    const config = await checked(folder, given);
    if (config === undefined) {
      return undefined;
    }
    const needsTorch = config.request !== "attach"; // the models are in the program that is attached to
    const python = await readyPython(folder, config.python, needsTorch);
    return python === undefined ? undefined : { ...config, [PYTHON_KEY]: python };
  }
}

/** With what may be left out, a program saved and by its whole path; undefined when a person was told what is wrong. */
async function checked(
  folder: vscode.WorkspaceFolder | undefined,
  config: vscode.DebugConfiguration,
): Promise<vscode.DebugConfiguration | undefined> {
  const kind = kindOf(config);
  if (kind === "attach") {
    return { ...config, connect: readConnect(config.connect) };
  }
  const where = workingFolder(config, folder?.uri.fsPath);
  if ("problem" in where) {
    return refused(where.problem);
  }
  if (kind !== "program") {
    return { ...config, ...where };
  }
  const found = programPath(config.program, where.cwd);
  if ("problem" in found) {
    return refused(found.problem);
  }
  return (await saveProgram(found.path))
    ? { ...config, ...where, program: found.path }
    : refused(`${found.path} was not saved, so it is not started.`);
}

function refused(problem: string): undefined {
  void vscode.window.showErrorMessage(problem);
}

/** VS Code asks for trust by itself before it starts a session; this holds where it would not. */
function isTrusted(): boolean {
  if (vscode.workspace.isTrusted) {
    return true;
  }
  void vscode.window.showErrorMessage("Debugging runs code of this workspace: trust the workspace first.");
  return false;
}

/** What an F5 without a launch.json starts: the Python file that is looked at, else a model. */
function whatIsOpen(): vscode.DebugConfiguration {
  return openProgram() ? programConfiguration("${file}") : { ...FIRST, model: modelOfOpenMap() };
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
  const offered = { provideDebugConfigurations: () => [FIRST, ...offeredPrograms()] };
  const { Initial, Dynamic } = vscode.DebugConfigurationProviderTriggerKind;
  context.subscriptions.push(
    vscode.debug.registerDebugConfigurationProvider(OUR_TYPE, provider, Initial),
    vscode.debug.registerDebugConfigurationProvider(OUR_TYPE, offered, Dynamic),
    vscode.commands.registerCommand("llm.debugModel", debugModel),
  );
}
