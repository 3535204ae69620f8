// "View Tensor" in an editor: what is selected or stands under the cursor.

import * as vscode from "vscode";
import { tensor } from "./tensor";

const DOTTED = /[\w.]+(\[[\w:,. -]*\])*/;

export function tensorHere(editor: vscode.TextEditor): void {
  const { document, selection } = editor;
  const word = document.getWordRangeAtPosition(selection.active, DOTTED);
  const text = document.getText(selection.isEmpty ? word : selection);
  const expression = document.languageId === "llmmap" && selection.isEmpty ? `${text}.weight` : text;
  void vscode.commands.executeCommand(tensor.command, { expression });
}
