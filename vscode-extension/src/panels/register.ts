// All panels: a new one adds its kind to this list, its command to package.json, its page to src/webviews/.

import * as vscode from "vscode";
import type { Stops } from "../debug/stops";
import { attention } from "./attention";
import { lens } from "./lens";
import { Panel, type PanelKind } from "./panel";
import { sampling } from "./sampling";
import { tensor } from "./tensor";
import { tensorHere } from "./tensor-here";

const KINDS: readonly PanelKind[] = [attention, lens, sampling, tensor];

export function registerPanels(context: vscode.ExtensionContext, stops: Stops): void {
  for (const kind of KINDS) {
    const panel = new Panel(kind, context, stops);
    context.subscriptions.push(
      vscode.commands.registerCommand(kind.command, (what?: unknown) => panel.show(what)),
      vscode.window.registerWebviewPanelSerializer(panel.viewType, {
        deserializeWebviewPanel: async (webview) => panel.adopt(webview),
      }),
    );
  }
  context.subscriptions.push(vscode.commands.registerTextEditorCommand("llm.showTensorHere", tensorHere));
}
