// Python programs that call models: the button and menus of a Python file, and what a person is asked for.

import { basename } from "node:path";
import * as vscode from "vscode";
import {
  attachConfiguration,
  moduleConfiguration,
  programConfiguration,
  readAddress,
  USUAL_PORT,
  writtenAddress,
} from "./programConfiguration";

const LAST_ADDRESS = "lastAddress";
const LAST_MODULE = "lastModule";
const PYTHON_FILES = "**/*.py";
const ELSEWHERE = "{**/node_modules/**,**/.*/**,**/venv/**,**/site-packages/**,**/__pycache__/**}";
const MOST_FILES = 500;

let memory: vscode.Memento | undefined;

/** The Python file in the active editor; a file that has never been saved has a path only later. */
export function openProgram(): vscode.Uri | undefined {
  const document = vscode.window.activeTextEditor?.document;
  return document?.languageId === "python" ? document.uri : undefined;
}

/** What the list of *Run and Debug* offers of programs, without a launch.json. */
export function offeredPrograms(): vscode.DebugConfiguration[] {
  const open = openProgram();
  const name = open ? `Debug ${basename(open.path)} with its models` : "Debug a Python file with its models";
  return [
    { ...programConfiguration(open ? "${file}" : "${command:llm.pickProgram}"), name },
    moduleConfiguration("${command:llm.askModule}"),
    { ...attachConfiguration({ host: "127.0.0.1", port: USUAL_PORT }), name: "Attach to a Python program" },
  ];
}

/** Starts a Python file: the one of a menu or a button, else the one that is open, else one that is picked. */
async function debugProgram(chosen?: vscode.Uri): Promise<void> {
  const uri = chosen instanceof vscode.Uri ? chosen : openProgram();
  const file = uri === undefined ? await pickProgram() : await savedFile(uri);
  if (file !== undefined) {
    const folder = vscode.workspace.getWorkspaceFolder(vscode.Uri.file(file)) ?? vscode.workspace.workspaceFolders?.[0];
    await vscode.debug.startDebugging(folder, programConfiguration(file));
  }
}

/** The file on the disk, as it is in the editor; undefined when the person would not save it. */
async function savedFile(uri: vscode.Uri): Promise<string | undefined> {
  const saved = uri.scheme === "untitled" || isUnsaved(uri) ? await vscode.workspace.save(uri) : uri;
  return saved?.fsPath;
}

function isUnsaved(uri: vscode.Uri): boolean {
  return vscode.workspace.textDocuments.some(({ uri: { path }, isDirty }) => isDirty && path === uri.path);
}

/** Writes what is typed but not saved, since it is the file that runs. False when it could not be written. */
export async function saveProgram(path: string): Promise<boolean> {
  const uri = vscode.Uri.file(path);
  const open = vscode.workspace.textDocuments.find((document) => document.isDirty && document.uri.path === uri.path);
  return open === undefined || open.save();
}

/** A Python file of the workspace, `${command:llm.pickProgram}`: the open one first. */
export async function pickProgram(): Promise<string | undefined> {
  const open = openProgram()?.path;
  const files = await vscode.workspace.findFiles(PYTHON_FILES, ELSEWHERE, MOST_FILES);
  const items = files
    .map((file) => ({ label: vscode.workspace.asRelativePath(file), file }))
    .sort((a, b) => Number(b.file.path === open) - Number(a.file.path === open) || a.label.localeCompare(b.label));
  if (items.length === 0) {
    void vscode.window.showInformationMessage("There is no Python file in this workspace: open one, then start it.");
    return undefined;
  }
  const picked = await vscode.window.showQuickPick(items, {
    title: "Debug Python with its models",
    placeHolder: "Which program is to be started?",
  });
  return picked?.file.fsPath;
}

/** `${command:llm.askModule}`: what `python -m` would be given. */
async function askModule(): Promise<string | undefined> {
  return asked(LAST_MODULE, {
    title: "Debug a Python module with its models",
    prompt: "Name of the module, as after python -m",
    placeHolder: "package.module",
    validateInput: (text) =>
      /^[^\d\W]\w*(\.[^\d\W]\w*)*$/.test(text.trim()) ? undefined : "A module has a name such as package.module.",
  });
}

/** `${command:llm.askToken}` */
async function askToken(): Promise<string | undefined> {
  return vscode.window.showInputBox({
    title: "Attach to a Python program",
    prompt: "Token that the program printed. Nothing: the one that your programs on this machine keep",
    password: true,
    ignoreFocusOut: true,
  });
}

/** `${command:llm.askAddress}` */
async function askAddress(): Promise<string | undefined> {
  return asked(LAST_ADDRESS, {
    title: "Attach to a Python program",
    prompt: "Where it listens: a port of this machine, or HOST:PORT",
    placeHolder: writtenAddress({ port: USUAL_PORT }),
    validateInput: (text) =>
      readAddress(text) ? undefined : "A port such as 5678, or a host and a port such as 127.0.0.1:5678.",
  });
}

/** Asks with what was answered the last time. */
async function asked(kept: string, options: vscode.InputBoxOptions): Promise<string | undefined> {
  const last = memory?.get<string>(kept);
  const answer = await vscode.window.showInputBox({
    ignoreFocusOut: true,
    ...options,
    ...(last !== undefined && { value: last }),
  });
  if (answer) {
    await memory?.update(kept, answer.trim());
  }
  return answer?.trim() || undefined;
}

/** Without a launch.json. */
async function attach(): Promise<void> {
  const address = readAddress((await askAddress()) ?? "");
  const token = address && (await askToken());
  if (address && token !== undefined) {
    const config = attachConfiguration(address, token.trim());
    await vscode.debug.startDebugging(vscode.workspace.workspaceFolders?.[0], config);
  }
}

export function registerPrograms(context: vscode.ExtensionContext): void {
  memory = context.workspaceState;
  context.subscriptions.push(
    vscode.commands.registerCommand("llm.debugProgram", debugProgram),
    vscode.commands.registerCommand("llm.attach", attach),
    vscode.commands.registerCommand("llm.pickProgram", pickProgram),
    vscode.commands.registerCommand("llm.askModule", askModule),
    vscode.commands.registerCommand("llm.askAddress", askAddress),
    vscode.commands.registerCommand("llm.askToken", askToken),
  );
}
