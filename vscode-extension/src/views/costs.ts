// "Breakpoint Costs": what each breakpoint costs the run, and whether it is judged at once.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { OUR_TYPE } from "../debug/configuration";
import { knownFilters } from "../debug/filters";
import { costRows, totalCost } from "./costText";

export async function showBreakpointCosts(): Promise<void> {
  const session = vscode.debug.activeDebugSession;
  if (session?.type !== OUR_TYPE) {
    void vscode.window.showInformationMessage("Start a model (F5): costs are measured as it runs.");
    return;
  }
  try {
    const body = await ask(session, "llm/breakpointCosts", {});
    const rows = costRows(body, knownFilters());
    if (rows.length === 0) {
      void vscode.window.showInformationMessage("Nothing is armed: the run costs what it costs without the debugger.");
      return;
    }
    const total = totalCost(body);
    const chosen = await vscode.window.showQuickPick(rows, {
      title: `Breakpoint costs${total ? `: ${total}` : ""}`,
      placeHolder: "The dearest first. Enter shows the Breakpoints view",
      matchOnDetail: true,
    });
    if (chosen) {
      await vscode.commands.executeCommand("workbench.debug.action.focusBreakpointsView");
    }
  } catch (error) {
    void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
  }
}
