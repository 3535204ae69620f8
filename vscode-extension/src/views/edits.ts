// The edits of the present branch as a list of the debug view, each to be switched off, on, and taken back.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import type { Stops } from "../debug/stops";
import { told, wordsOf } from "../debug/telling";
import { log } from "../log";
import type { EditInfo } from "../protocol/messages";

export class EditsView implements vscode.TreeDataProvider<EditInfo>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #listeners: vscode.Disposable[] = [];
  #view: vscode.TreeView<EditInfo> | undefined;
  #edits: EditInfo[] = [];

  constructor(private readonly stops: Stops) {}

  register(): void {
    const view = vscode.window.createTreeView("llm.edits", {
      treeDataProvider: this,
      manageCheckboxStateManually: true,
    });
    this.#view = view;
    this.#listeners.push(
      view,
      this.stops.onDidChange(({ kind }) => {
        if (kind !== "running") {
          this.#changed.fire(undefined); // on the way from stop to stop the list stays
        }
      }),
      view.onDidChangeCheckboxState(({ items }) => void this.#switch(items)),
    );
  }

  async getChildren(parent?: EditInfo): Promise<EditInfo[]> {
    const stop = this.stops.stop;
    if (parent !== undefined) {
      return [];
    }
    if (stop !== undefined) {
      try {
        this.#edits = (await ask(stop.session, "llm/edits", {})).edits;
      } catch (error) {
        log().debug("edits:", error); // the run has gone on
      }
    } else if (this.stops.standing.kind === "ended") {
      this.#edits = [];
    }
    if (this.#view) {
      this.#view.description = this.#edits.length > 0 ? String(this.#edits.length) : "";
    }
    return this.#edits;
  }

  getTreeItem({ id, text, enabled, problem }: EditInfo): vscode.TreeItem {
    const item = new vscode.TreeItem(text);
    item.id = String(id);
    item.contextValue = "edit";
    if (problem) {
      item.description = problem;
      item.iconPath = new vscode.ThemeIcon("warning");
    }
    const { Checked, Unchecked } = vscode.TreeItemCheckboxState;
    item.checkboxState = {
      state: enabled ? Checked : Unchecked,
      tooltip: enabled ? "Switch this edit off" : "Switch this edit on",
      accessibilityInformation: { label: `${text}, ${enabled ? "on" : "off"}` },
    };
    return item;
  }

  /** What it did is worked out when the pointer rests on it. */
  async resolveTreeItem(
    item: vscode.TreeItem,
    edit: EditInfo,
    token: vscode.CancellationToken,
  ): Promise<vscode.TreeItem> {
    const stop = this.stops.stop;
    let effect: string[] = [];
    if (stop && edit.enabled && edit.problem === undefined) {
      try {
        effect = (await ask(stop.session, "llm/editEffect", { ids: [edit.id] }, token)).text;
      } catch (error) {
        effect = token.isCancellationRequested ? [] : [wordsOf(error)];
      }
    }
    item.tooltip = [`Edit ${edit.id}: ${edit.text}`, ...(edit.problem ? [edit.problem] : []), ...effect].join("\n\n");
    return item;
  }

  async #switch(items: readonly (readonly [EditInfo, vscode.TreeItemCheckboxState])[]): Promise<void> {
    await told(async () => {
      const stop = this.stops.stop;
      for (const [{ id }, state] of stop ? items : []) {
        const enabled = state === vscode.TreeItemCheckboxState.Checked;
        if (stop) {
          await ask(stop.session, "llm/changeEdit", { id, enabled });
        }
      }
      return undefined;
    });
    this.#changed.fire(undefined); // what was refused is shown as it is
  }

  dispose(): void {
    this.#changed.dispose();
    for (const listener of this.#listeners) {
      listener.dispose();
    }
  }
}
