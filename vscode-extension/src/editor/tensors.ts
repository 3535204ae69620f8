// "View Tensor" in an editor: what is selected or stands under the cursor; on a line of a map the weight of its module.

import * as vscode from "vscode";
import { placeOn } from "./lines";

const DOTTED = /[\w.]+(\[[\w:,. -]*\])*/;

export function showTensorHere({ document, selection }: vscode.TextEditor): void {
  const expression = selection.isEmpty ? under(document, selection.active) : document.getText(selection);
  if (expression !== undefined && expression !== "") {
    void vscode.commands.executeCommand("llm.showTensor", { expression });
  }
}

function under(document: vscode.TextDocument, at: vscode.Position): string | undefined {
  if (document.languageId === "llmmap") {
    const place = placeOn(document.lineAt(at).text)?.written;
    return place === undefined ? undefined : `model.get_parameter("${place}.weight")`;
  }
  const word = document.getWordRangeAtPosition(at, DOTTED);
  return word && document.getText(word);
}
