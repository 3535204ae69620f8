// What is evaluated under the pointer while a map's frame is focused: the whole path, wherever in it the pointer is.
// Elsewhere on the line the language server's hover stays. In Python files VS Code finds the expression by itself.

import * as vscode from "vscode";
import { isSelection, placeOn } from "./lines";

export const PATH_UNDER_POINTER: vscode.EvaluatableExpressionProvider = {
  provideEvaluatableExpression(document, position) {
    const line = document.lineAt(position.line).text;
    const place = placeOn(line);
    if (
      place === undefined ||
      isSelection(line) ||
      position.character < place.start ||
      position.character > place.end
    ) {
      return undefined;
    }
    const range = new vscode.Range(position.line, place.start, position.line, place.end);
    return new vscode.EvaluatableExpression(range, decoded(place.written));
  },
};

function decoded(written: string): string {
  try {
    return decodeURIComponent(written);
  } catch {
    return written; // a percent sign that somebody wrote by hand
  }
}
