// One log for the whole extension, opened when something is first written to it.

import * as vscode from "vscode";

let channel: vscode.LogOutputChannel | undefined;

export function log(): vscode.LogOutputChannel {
  channel ??= vscode.window.createOutputChannel("llm-dap", { log: true });
  return channel;
}
