// What goes wrong when a command asks the debugger, as a message.

import * as vscode from "vscode";

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Says what an action returns, and what goes wrong; a request that another one cancels is no failure. */
export async function told(action: () => Promise<string | undefined>): Promise<void> {
  try {
    const message = await action();
    if (message !== undefined) {
      void vscode.window.showInformationMessage(message);
    }
  } catch (error) {
    const message = wordsOf(error);
    if (message !== "cancelled") {
      void vscode.window.showErrorMessage(message);
    }
  }
}
