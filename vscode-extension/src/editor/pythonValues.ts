// Values beside the lines of a Python file at a stop in it: of the names on its lines, as the innermost scope has them.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { OUR_TYPE } from "../debug/configuration";
import { log } from "../log";
import { namesBefore, shortValue } from "./pythonNames";

const OF_PYTHON: vscode.InlineValuesProvider = {
  async provideInlineValues(document, viewPort, { frameId, stoppedLocation }) {
    const session = vscode.debug.activeDebugSession;
    if (session?.type !== OUR_TYPE) {
      return [];
    }
    const values = await valuesIn(session, frameId);
    const lines = document.getText().split(/\r?\n/);
    return namesBefore(lines, stoppedLocation.end.line, viewPort.start.line).flatMap(({ name, line, start }) => {
      const value = shortValue(values.get(name));
      const range = new vscode.Range(line, start, line, start + name.length);
      return value === undefined ? [] : new vscode.InlineValueText(range, `${name} = ${value}`);
    });
  },
};

async function valuesIn(session: vscode.DebugSession, frameId: number): Promise<Map<string, string>> {
  try {
    const { scopes } = await ask(session, "scopes", { frameId });
    const [innermost] = scopes;
    const { variables } = innermost
      ? await ask(session, "variables", { variablesReference: innermost.variablesReference })
      : { variables: [] };
    return new Map(variables.map(({ name, value }) => [name, value]));
  } catch (error) {
    log().debug("values of Python:", error); // the run has gone on
    return new Map();
  }
}

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
