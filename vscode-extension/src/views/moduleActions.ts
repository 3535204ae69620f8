// What can be done with a module of the tree.

import * as vscode from "vscode";
import { runToModule } from "../debug/moving";
import type { Stops } from "../debug/stops";
import { columnOf, type Phase, placesOf, writtenAs } from "../editor/lines";
import { fileOf, mapOf } from "../editor/sources";
import type { ModuleNode } from "./moduleTree";

/** The line of a module in the map that the session points into. */
async function mapLine(node: ModuleNode): Promise<[vscode.TextDocument, number] | undefined> {
  const session = vscode.debug.activeDebugSession;
  const map = session && (await mapOf(session));
  if (map === undefined) {
    return undefined;
  }
  const document = await vscode.workspace.openTextDocument(map);
  const line = placesOf(document.getText().split("\n")).get(writtenAs(node.path));
  return line === undefined ? undefined : [document, line];
}

/** On its line of the map; where the map does not have it, by its name. */
async function breakAt(node: ModuleNode, phase: Phase): Promise<void> {
  const found = await mapLine(node);
  if (found === undefined) {
    const name = node.path === "." ? node.module.name : node.path;
    vscode.debug.addBreakpoints([new vscode.FunctionBreakpoint(phase === "after" ? `after:${name}` : name)]);
    return;
  }
  const [document, line] = found;
  const column = columnOf(document.lineAt(line).text, phase);
  const location = new vscode.Location(document.uri, new vscode.Position(line, column));
  vscode.debug.addBreakpoints([new vscode.SourceBreakpoint(location)]);
}

async function openMapLine(node: ModuleNode): Promise<void> {
  const found = await mapLine(node);
  if (found === undefined) {
    void vscode.window.showInformationMessage(`The model map of this session has no line of ${node.path}.`);
    return;
  }
  const [document, line] = found;
  await vscode.window.showTextDocument(document, {
    selection: new vscode.Range(line, 0, line, 0),
    preserveFocus: true,
    preview: true,
  });
}

async function openSource({ module }: ModuleNode): Promise<void> {
  if (module.path === undefined) {
    void vscode.window.showInformationMessage(`${module.type} has no Python source.`);
    return;
  }
  const line = (module.line ?? 1) - 1;
  await vscode.window.showTextDocument(fileOf(module.path), { selection: new vscode.Range(line, 0, line, 0) });
}

export function registerModuleActions(context: vscode.ExtensionContext, stops: Stops): void {
  const actions: Record<string, (node: ModuleNode) => Promise<void>> = {
    "llm.breakBeforeModule": (node) => breakAt(node, "before"),
    "llm.breakAfterModule": (node) => breakAt(node, "after"),
    "llm.openMapLine": openMapLine,
    "llm.openModuleSource": openSource,
    "llm.runToModule": (node) => runToModule(stops, node.path === "." ? "" : node.path),
  };
  for (const [command, action] of Object.entries(actions)) {
    context.subscriptions.push(vscode.commands.registerCommand(command, action));
  }
}
