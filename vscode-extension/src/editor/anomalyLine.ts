// What was found, in red beside the line of the map where it was found, with all that is known of it under the pointer.
//
// It stands in the column of inline values, which leave it free: the end of a line is mostly out of sight.

import * as vscode from "vscode";
import type { Anomalies } from "../debug/anomalies";
import { type Anomaly, shortText } from "../debug/explaining";
import type { Stops } from "../debug/stops";
import { fieldsOf, placesOf, writtenAs } from "./lines";
import { mapOf } from "./sources";
import { VALUE_WIDTH } from "./wording";

export class AnomalyLine implements vscode.Disposable {
  readonly #decoration = vscode.window.createTextEditorDecorationType({
    overviewRulerColor: new vscode.ThemeColor("editorOverviewRuler.errorForeground"),
    overviewRulerLane: vscode.OverviewRulerLane.Right,
  });
  readonly #listeners: vscode.Disposable[];
  #shown: { map: vscode.Uri; anomaly: Anomaly; path: string } | undefined;

  constructor(
    anomalies: Anomalies,
    private readonly stops: Stops,
  ) {
    this.#listeners = [
      anomalies.onDidChange((anomaly) => void this.#show(anomaly)),
      vscode.window.onDidChangeVisibleTextEditors(() => this.#draw()),
    ];
  }

  async #show(anomaly: Anomaly | undefined): Promise<void> {
    this.#shown = undefined;
    const stop = this.stops.stop;
    const path = anomaly?.place?.path;
    const map = stop && path !== undefined ? await mapOf(stop.session).catch(() => undefined) : undefined;
    if (map && anomaly && path !== undefined && stop === this.stops.stop) {
      this.#shown = { map, anomaly, path: writtenAs(path) };
    }
    this.#draw();
  }

  #draw(): void {
    for (const editor of vscode.window.visibleTextEditors.filter(({ document }) => document.languageId === "llmmap")) {
      editor.setDecorations(this.#decoration, this.#decorationsOf(editor.document));
    }
  }

  #decorationsOf(document: vscode.TextDocument): vscode.DecorationOptions[] {
    const { map, anomaly, path } = this.#shown ?? {};
    if (!anomaly || path === undefined || document.uri.path !== map?.path) {
      return [];
    }
    const line = placesOf(document.getText().split(/\r?\n/)).get(path);
    const at = line === undefined ? undefined : fieldsOf(document.lineAt(line).text)?.next;
    if (line === undefined || at === undefined) {
      return [];
    }
    const contentText = `⚠ ${shortText(anomaly, VALUE_WIDTH - 3)}`.replaceAll(" ", "\u00a0");
    const color = new vscode.ThemeColor("editorError.foreground");
    return [
      { range: document.lineAt(line).range, hoverMessage: explained(anomaly) }, // nothing rests on an empty range
      {
        range: new vscode.Range(line, at, line, at),
        renderOptions: { before: { contentText, color, width: `${VALUE_WIDTH}ch` } },
      },
    ];
  }

  dispose(): void {
    this.#decoration.dispose();
    vscode.Disposable.from(...this.#listeners).dispose();
  }
}

function explained({ label, text, origins, trace }: Anomaly): vscode.MarkdownString {
  const shown = new vscode.MarkdownString();
  shown.appendMarkdown("**").appendText(label).appendMarkdown("**\n\n").appendText(text);
  if (origins.length > 0) {
    shown.appendMarkdown("\n\nThe way back:\n");
    for (const origin of origins) {
      shown.appendMarkdown("\n- ").appendText(origin);
    }
  }
  return trace ? shown.appendCodeblock(trace, "python") : shown;
}
