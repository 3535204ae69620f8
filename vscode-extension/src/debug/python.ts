// Finds the Python of a workspace, and helps when it cannot debug.

import { existsSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { log } from "../log";
import { advice, type Candidate, choose, examine, type Verdict } from "./environments";

const INSTALL = "Install";
const CHOOSE = "Choose Python…";

const known = new Map<string, Verdict>();

/** A Python that can debug; undefined when there is none, and the person has been told or was asked in vain. */
export async function readyPython(
  folder: vscode.WorkspaceFolder | undefined,
  named?: string,
  needsTorch = true,
): Promise<string | undefined> {
  for (;;) {
    const verdict = await findPython(folder, named);
    if (verdict?.kind === "ready" || (verdict?.kind === "no torch" && !needsTorch)) {
      return verdict.python;
    }
    const { message, install } = advice(verdict);
    log().warn(message, verdict?.kind === "broken" ? verdict.detail : "");
    const answer = await vscode.window.showErrorMessage(message, ...(install ? [INSTALL] : []), CHOOSE);
    if (answer === INSTALL && install && verdict) {
      if (!(await installInto(verdict.python, install))) {
        return undefined;
      }
    } else if (answer === CHOOSE) {
      if (named !== undefined || !(await choosePython(folder))) {
        return undefined;
      }
    } else {
      return undefined;
    }
  }
}

/** Says nothing to anybody: for what may as well not be there, such as the language server. */
export async function findPython(
  folder: vscode.WorkspaceFolder | undefined,
  named?: string,
): Promise<Verdict | undefined> {
  return choose(await candidates(folder, named), async (python) => {
    const before = known.get(python);
    const verdict = before ?? (await examine(python, folder?.uri.fsPath));
    if (verdict.kind === "ready") {
      known.set(python, verdict);
    }
    log().debug(`${python}: ${verdict.kind}`);
    return verdict;
  });
}

async function candidates(folder: vscode.WorkspaceFolder | undefined, named?: string): Promise<Candidate[]> {
  const found: Candidate[] = [];
  const add = (python: string | undefined, origin: Candidate["origin"]): void => {
    if (python && !found.some((each) => each.python === python)) {
      found.push({ python, origin });
    }
  };
  add(named, "launch.json");
  add(setting(folder), "setting");
  if (found.length > 0) {
    return found; // nobody has to be asked then, and the Python extension may take its time to start
  }
  add(await chosenInPythonExtension(folder), "python extension");
  for (const each of folder ? [folder] : (vscode.workspace.workspaceFolders ?? [])) {
    for (const name of [".venv", "venv"]) {
      const python = join(
        each.uri.fsPath,
        name,
        ...(process.platform === "win32" ? ["Scripts", "python.exe"] : ["bin", "python"]),
      );
      add(existsSync(python) ? python : undefined, "workspace");
    }
  }
  add("python3", "path");
  add("python", "path");
  return found;
}

function setting(folder: vscode.WorkspaceFolder | undefined): string | undefined {
  const value = vscode.workspace.getConfiguration("llm-dap", folder).get<string>("python")?.trim();
  return value
    ?.replace(/^\$\{workspaceFolder\}/, folder?.uri.fsPath ?? "")
    .replace(/^~(?=\/)/, process.env.HOME ?? "~");
}

/** The part of the Python extension's API that is needed here. */
interface PythonEnvironments {
  environments: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { path: string };
    resolveEnvironment(environment: { path: string }): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  };
}

async function chosenInPythonExtension(folder: vscode.WorkspaceFolder | undefined): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension<PythonEnvironments>("ms-python.python");
  try {
    const { environments } = (await extension?.activate()) ?? {};
    const path = environments?.getActiveEnvironmentPath(folder?.uri);
    const environment = path && (await environments?.resolveEnvironment(path));
    return environment ? environment.executable.uri?.fsPath : undefined;
  } catch (error) {
    log().warn("The Python extension does not tell its interpreter:", error);
    return undefined;
  }
}

/** Asks for an interpreter and keeps it in the settings. False when the person gave up. */
export async function choosePython(folder?: vscode.WorkspaceFolder): Promise<boolean> {
  const picked = await vscode.window.showOpenDialog({
    title: "Python interpreter with llm-dap and torch",
    openLabel: "Choose",
    canSelectMany: false,
    ...(folder && { defaultUri: folder.uri }),
  });
  const python = picked?.[0]?.fsPath;
  if (!python) {
    return false;
  }
  const target = folder ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global;
  await vscode.workspace.getConfiguration("llm-dap", folder).update("python", python, target);
  return true;
}

/** Runs pip where the person can watch it. True when it went well. */
async function installInto(python: string, packages: string[]): Promise<boolean> {
  const run = new vscode.ProcessExecution(python, ["-m", "pip", "install", ...packages]);
  const task = new vscode.Task({ type: "llm-dap" }, vscode.TaskScope.Workspace, "Install llm-dap", "llm-dap", run);
  const ended = new Promise<number | undefined>((resolve) => {
    const listener = vscode.tasks.onDidEndTaskProcess((event) => {
      if (event.execution.task.name === task.name && event.execution.task.source === task.source) {
        listener.dispose();
        resolve(event.exitCode);
      }
    });
  });
  await vscode.tasks.executeTask(task);
  const status = await ended;
  if (status !== 0) {
    void vscode.window.showErrorMessage(`pip did not install ${packages.at(-1)}: its terminal says why.`);
  }
  return status === 0;
}
