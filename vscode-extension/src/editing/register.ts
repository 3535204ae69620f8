// All that changes a run.

import * as vscode from "vscode";
import type { Stops } from "../debug/stops";
import type { EditInfo } from "../protocol/messages";
import { ListedEdits } from "./list";
import type { Chosen } from "./meaning";
import { VariableEdits } from "./variables";

export function registerEditing(context: vscode.ExtensionContext, stops: Stops): void {
  const variables = new VariableEdits(stops, context.workspaceState);
  const list = new ListedEdits(stops);
  const onVariables: Record<string, (chosen?: Chosen) => Promise<void>> = {
    "llm.scaleVariable": (chosen) => variables.scale(chosen),
    "llm.zeroVariable": (chosen) => variables.zero(chosen),
    "llm.ablateHead": (chosen) => variables.ablateHead(chosen),
    "llm.patchVariable": (chosen) => variables.patch(chosen),
  };
  context.subscriptions.push(
    ...Object.entries(onVariables).map(([command, action]) => vscode.commands.registerCommand(command, action)),
    vscode.commands.registerCommand("llm.undoEdit", (edit?: EditInfo) => list.undo(edit?.id)),
    vscode.commands.registerCommand("llm.undoLastEdit", () => list.undo()),
    vscode.commands.registerCommand("llm.undoAllEdits", () => list.undoAll()),
    vscode.commands.registerCommand("llm.anotherPrompt", () => list.prompt()),
    vscode.commands.registerCommand("llm.saveEdits", () => list.save()),
    vscode.commands.registerCommand("llm.loadEdits", () => list.load()),
  );
}
