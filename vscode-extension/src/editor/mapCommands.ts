// Commands on a line of a map and on the map as a whole: to its Python source, and made anew.

import * as vscode from "vscode";
import { languageServer } from "../language/start";
import { breakpointsIn, locationOn, type MenuArgument, meantLine, moved, phaseOf } from "./breakpoints";
import { placeOn } from "./lines";

const NO_SERVER = "The language server of model maps does not run: the log of llm-dap says why.";

/** The `forward` that runs at a line's place, as the language server finds it. */
async function openPythonSource(argument: MenuArgument): Promise<void> {
  const meant = await meantLine(argument);
  const place = meant && placeOn(meant.document.lineAt(meant.line).text);
  if (!meant || !place) {
    void vscode.window.showInformationMessage("Put the cursor on the line of a module in a model map first.");
    return;
  }
  if ((await languageServer()) === undefined) {
    void vscode.window.showErrorMessage(NO_SERVER);
    return;
  }
  const at = new vscode.Position(meant.line, place.end);
  type Found = (vscode.Location | vscode.LocationLink)[];
  const found = await vscode.commands.executeCommand<Found>("vscode.executeDefinitionProvider", meant.document.uri, at);
  const first = found[0];
  if (first === undefined) {
    void vscode.window.showInformationMessage(`No Python source of ${place.written} was found.`);
    return;
  }
  const uri = "targetUri" in first ? first.targetUri : first.uri;
  const range = "targetUri" in first ? (first.targetSelectionRange ?? first.targetRange) : first.range;
  await vscode.window.showTextDocument(uri, { selection: new vscode.Range(range.start, range.start) });
}

/** Makes an open map anew from the model's config; its breakpoints follow their places. */
export async function regenerateMap(argument?: vscode.Uri | string): Promise<void> {
  const uri = typeof argument === "string" ? vscode.Uri.parse(argument) : argument;
  const document = uri ? await vscode.workspace.openTextDocument(uri) : vscode.window.activeTextEditor?.document;
  if (document?.languageId !== "llmmap") {
    void vscode.window.showInformationMessage("Open a model map first.");
    return;
  }
  const server = await languageServer();
  if (server === undefined) {
    void vscode.window.showErrorMessage(NO_SERVER);
    return;
  }
  const before = breakpointsIn(document.uri).map((breakpoint) => ({
    breakpoint,
    line: breakpoint.location.range.start.line,
    phase: phaseOf(breakpoint, document) ?? "before",
  }));
  try {
    const title = "Making the map anew";
    const answer = await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title }, () =>
      server.ask("llm/regenerateMap", { uri: document.uri.toString() }),
    );
    if (!answer.applied) {
      void vscode.window.showInformationMessage("The map is as the model is: nothing has changed.");
      return;
    }
    let gone = 0;
    for (const { breakpoint, line, phase } of before) {
      const now = answer.moves[line];
      vscode.debug.removeBreakpoints([breakpoint]);
      if (now === undefined) {
        gone += 1;
      } else {
        vscode.debug.addBreakpoints([moved(breakpoint, locationOn({ document, line: now }, phase))]);
      }
    }
    if (gone > 0) {
      const what = gone === 1 ? "A breakpoint was" : `${gone} breakpoints were`;
      void vscode.window.showWarningMessage(`${what} removed: the model no longer has the place.`);
    }
  } catch (error) {
    void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
  }
}

export function registerMapCommands(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("llm.openPythonSource", openPythonSource),
    vscode.commands.registerCommand("llm.regenerateMap", regenerateMap),
  );
}
