// What VS Code calls first. Every room registers its own; nothing here does any work.

import type * as vscode from "vscode";
import { registerDebugging } from "./debug/register";
import { registerEditor } from "./editor/register";
import { registerLanguage } from "./language/start";
import { registerPanels } from "./panels/register";
import { registerViews } from "./views/register";

export function activate(context: vscode.ExtensionContext): void {
  const stops = registerDebugging(context);
  registerPanels(context, stops);
  registerEditor(context, stops);
  registerViews(context, stops);
  registerLanguage(context);
}
