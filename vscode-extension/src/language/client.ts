// The language client: the root of the second bundle, loaded by start.ts.

import type * as vscode from "vscode";
import { LanguageClient, RevealOutputChannelOn } from "vscode-languageclient/node";

/** Starts `PYTHON -m dap_server language-server` for all maps. */
export async function startClient(python: string, channel: vscode.OutputChannel): Promise<{ stop(): Promise<void> }> {
  const client = new LanguageClient(
    "llm-dap",
    "Model maps",
    { command: python, args: ["-m", "dap_server", "language-server"] },
    {
      documentSelector: [{ language: "llmmap" }],
      outputChannel: channel,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationFailedHandler: () => false,
    },
  );
  await client.start();
  return client;
}
