// Files that a panel exports.

import * as vscode from "vscode";

const KINDS: Record<string, string> = { png: "Picture", svg: "Drawing", csv: "Table" };

/** Asks where to, and writes. `data` is base64. */
export async function saveFile(name: string, data: string): Promise<void> {
  const extension = name.split(".").at(-1) ?? "";
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const target = await vscode.window.showSaveDialog({
    ...(folder && { defaultUri: vscode.Uri.joinPath(folder, name) }),
    filters: { [KINDS[extension] ?? "File"]: [extension] },
  });
  if (target) {
    await vscode.workspace.fs.writeFile(target, Buffer.from(data, "base64"));
  }
}
