// The language client: the root of the second bundle, loaded by start.ts.

import * as vscode from "vscode";
import { LanguageClient, RevealOutputChannelOn } from "vscode-languageclient/node";
import type { LanguageRequests } from "../protocol/messages";

/** The language server that runs. */
export interface LanguageServer {
  /** A request of our own; it fails with the server's words. */
  ask<C extends keyof LanguageRequests>(
    command: C,
    args: LanguageRequests[C]["arguments"],
  ): Promise<LanguageRequests[C]["body"]>;
  stop(): Promise<void>;
}

/** Starts `PYTHON -m dap_server language-server` for all maps. */
export async function startClient(python: string, channel: vscode.OutputChannel): Promise<LanguageServer> {
  const client = new LanguageClient(
    "llm-dap",
    "Model maps",
    { command: python, args: ["-m", "dap_server", "language-server"] },
    {
      documentSelector: [{ language: "llmmap" }],
      outputChannel: channel,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationFailedHandler: () => false,
      middleware: {
        // A quick fix makes the map anew too: by our own command, which takes the breakpoints along.
        executeCommand: (command, args, next) =>
          command === "llm-dap.regenerateMap"
            ? vscode.commands.executeCommand("llm.regenerateMap", ...args)
            : next(command, args),
      },
    },
  );
  await client.start();
  return { ask: (command, args) => client.sendRequest(command, args), stop: () => client.stop() };
}
