// Commands on the list of edits: another prompt put on it, edits taken back, saved as a file, loaded.

import * as vscode from "vscode";
import { ask } from "../debug/asking";
import { NOT_STOPPED } from "../debug/moving";
import type { Stop, Stops } from "../debug/stops";
import { told } from "../debug/telling";
import { askUntilTaken } from "./inputs";

const NAME = "edits.json";
const KIND = { "Edits (JSON)": ["json"] };

export class ListedEdits {
  constructor(private readonly stops: Stops) {}

  /** The last one, where none is chosen. */
  async undo(id?: number): Promise<void> {
    await this.#stopped(async ({ session }) => {
      await ask(session, "llm/undoEdit", id === undefined ? {} : { id });
      return undefined;
    });
  }

  async undoAll(): Promise<void> {
    await this.#stopped(async ({ session }) => {
      const { edits } = await ask(session, "llm/edits", {});
      if (edits.length === 0) {
        return "There are no edits to undo.";
      }
      await ask(session, "llm/undoEdit", { all: true });
      return undefined;
    });
  }

  async save(): Promise<void> {
    await this.#stopped(async ({ session }) => {
      const { edits } = await ask(session, "llm/edits", {});
      if (edits.length === 0) {
        return "There are no edits to save.";
      }
      const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
      const file = await vscode.window.showSaveDialog({
        title: "Save the edits of this branch",
        filters: KIND,
        ...(folder && { defaultUri: vscode.Uri.joinPath(folder, NAME) }),
      });
      if (file) {
        await ask(session, "llm/saveEdits", { file: file.fsPath, replace: true }); // the dialog has asked
      }
      return undefined;
    });
  }

  async load(): Promise<void> {
    await this.#stopped(async ({ session }) => {
      const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
      const [file] =
        (await vscode.window.showOpenDialog({
          title: "Load edits",
          openLabel: "Load",
          filters: KIND,
          ...(folder && { defaultUri: folder }),
        })) ?? [];
      if (file === undefined) {
        return undefined;
      }
      const { edits } = await ask(session, "llm/edits", {});
      const replace = edits.length === 0 ? false : await askWhether(edits.length);
      if (replace !== undefined) {
        await ask(session, "llm/loadEdits", { file: file.fsPath, replace });
      }
      return undefined;
    });
  }

  /** Begins anew with it, in a branch of its own; of a batch with that of the sequence that is looked at. */
  async prompt(): Promise<void> {
    await this.#stopped(async ({ session, threadId, frameId }) => {
      const { branches } = await ask(session, "llm/branches", { threadId });
      const present = branches.find(({ isPresent }) => isPresent)?.prompt;
      if (present === undefined) {
        return "This call begins with a text of its program, or has not come to its first step: there is no prompt to change.";
      }
      await askUntilTaken(
        {
          title: "Another Prompt",
          prompt: "The run begins anew with it, in a branch of its own",
          value: present,
          check: (text) => (text === present ? "The run has this prompt already" : undefined),
        },
        async (text) =>
          session.customRequest("setExpression", { expression: "prompt", value: JSON.stringify(text), frameId }),
      );
      return undefined;
    });
  }

  async #stopped(action: (stop: Stop) => Promise<string | undefined>): Promise<void> {
    const stop = this.stops.stop;
    await told(async () => (stop === undefined ? NOT_STOPPED : action(stop)));
  }
}

async function askWhether(count: number): Promise<boolean | undefined> {
  const items = [
    { label: "Add them to those that there are", replace: false },
    { label: "Put them in the place of those that there are", replace: true },
  ];
  const title = count === 1 ? "There is an edit already" : `There are ${count} edits already`;
  return (await vscode.window.showQuickPick(items, { title }))?.replace;
}
