// The map that a session uses.

import * as vscode from "vscode";
import { ask } from "../debug/asking";

/** Undefined where the session has none. */
export async function mapOf(session: vscode.DebugSession): Promise<vscode.Uri | undefined> {
  const { sources } = await ask(session, "loadedSources", {});
  const path = sources.find((source) => source.path?.endsWith(".llmmap"))?.path;
  return path === undefined ? undefined : fileOf(path);
}

/** The file of a source: a remote window sends its files to debuggers as addresses, which come back so. */
export function fileOf(path: string): vscode.Uri {
  return vscode.Uri.file(/^[\w+.-]{2,}:\/\//.test(path) ? vscode.Uri.parse(path).path : path);
}
