// What there is in the debug view and the status bar.

import * as vscode from "vscode";
import type { Stops } from "../debug/stops";
import { showBreakpointCosts } from "./costs";
import { EditsView } from "./edits";
import { registerModuleActions } from "./moduleActions";
import { ModulesView } from "./modules";
import { registerStatus } from "./status";

export function registerViews(context: vscode.ExtensionContext, stops: Stops): void {
  const modules = new ModulesView(stops);
  modules.register();
  const edits = new EditsView(stops);
  edits.register();
  context.subscriptions.push(
    edits,
    modules,
    vscode.commands.registerCommand("llm.showBreakpointCosts", showBreakpointCosts),
  );
  registerModuleActions(context, stops);
  registerStatus(context, stops);
}
