// What VS Code calls first. Every room registers its own; nothing here does any work.

import type * as vscode from "vscode";
import { Anomalies } from "./debug/anomalies";
import { registerDebugging } from "./debug/register";
import { registerEditing } from "./editing/register";
import { registerEditor } from "./editor/register";
import { registerLanguage } from "./language/start";
import { registerPanels } from "./panels/register";
import { registerViews } from "./views/register";

export function activate(context: vscode.ExtensionContext): void {
  const stops = registerDebugging(context);
  const anomalies = new Anomalies(stops);
  context.subscriptions.push(anomalies);
  registerPanels(context, stops, anomalies);
  registerEditor(context, stops, anomalies);
  registerEditing(context, stops);
  registerViews(context, stops);
  registerLanguage(context);
}
