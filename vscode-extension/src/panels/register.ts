// All panels: a new one adds its kind to this list, its command to package.json, its page to src/webviews/.

import * as vscode from "vscode";
import type { Anomalies } from "../debug/anomalies";
import type { Stops } from "../debug/stops";
import { attention } from "./attention";
import { generation } from "./generation";
import { lens } from "./lens";
import { Panel, type PanelKind } from "./panel";
import { sampling } from "./sampling";
import { sweep } from "./sweep";
import { tensor } from "./tensor";
import { timeline } from "./timeline";

const KINDS: readonly PanelKind[] = [attention, generation, lens, sampling, sweep, tensor, timeline];

export function registerPanels(context: vscode.ExtensionContext, stops: Stops, anomalies: Anomalies): void {
  for (const kind of KINDS) {
    const panel = new Panel(kind, context, stops, anomalies);
    context.subscriptions.push(
      vscode.commands.registerCommand(kind.command, (what?: unknown) => panel.show(what)),
      vscode.window.registerWebviewPanelSerializer(panel.viewType, {
        deserializeWebviewPanel: async (webview) => panel.adopt(webview),
      }),
    );
  }
}
