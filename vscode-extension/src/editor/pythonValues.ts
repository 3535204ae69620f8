// Values beside the lines of a Python file at a stop in it. VS Code looks the names up in the scopes of the frame.

import * as vscode from "vscode";
import { OUR_TYPE } from "../debug/configuration";
import { namesBefore } from "./pythonNames";

const OF_PYTHON: vscode.InlineValuesProvider = {
  provideInlineValues(document, viewPort, { stoppedLocation }) {
    if (vscode.debug.activeDebugSession?.type !== OUR_TYPE) {
      return [];
    }
    const lines = document.getText().split(/\r?\n/);
    return namesBefore(lines, stoppedLocation.end.line, viewPort.start.line).map(
      ({ name, line, start }) =>
        new vscode.InlineValueVariableLookup(new vscode.Range(line, start, line, start + name.length), name, true),
    );
  },
};

/** While a session of ours runs: VS Code shows its own values of other debuggers only where nobody provides any. */
export function registerPythonValues(context: vscode.ExtensionContext): void {
  const sessions = new Set<string>();
  let provider: vscode.Disposable | undefined;
  const follow = (): void => {
    if (sessions.size > 0) {
      provider ??= vscode.languages.registerInlineValuesProvider({ language: "python" }, OF_PYTHON);
    } else {
      provider?.dispose();
      provider = undefined;
    }
  };
  context.subscriptions.push(
    vscode.debug.onDidStartDebugSession(({ id, type }) => {
      if (type === OUR_TYPE) {
        sessions.add(id);
        follow();
      }
    }),
    vscode.debug.onDidTerminateDebugSession(({ id }) => {
      sessions.delete(id);
      follow();
    }),
    { dispose: () => provider?.dispose() },
  );
}
