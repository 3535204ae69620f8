// Starts the language client when a map is opened, and not before: it is a bundle of its own.

import { join } from "node:path";
import * as vscode from "vscode";
import { findPython } from "../debug/python";
import { log } from "../log";

type ClientModule = typeof import("./client");

let client: { stop(): Promise<void> } | undefined;
let isStarting = false;

export function registerLanguage(context: vscode.ExtensionContext): void {
  const startFor = (document: vscode.TextDocument): void => {
    if (document.languageId === "llmmap" && vscode.workspace.isTrusted) {
      void start(document);
    }
  };
  const startForAny = (): void => vscode.workspace.textDocuments.forEach(startFor);
  startForAny();
  context.subscriptions.push(
    vscode.workspace.onDidOpenTextDocument(startFor),
    vscode.workspace.onDidGrantWorkspaceTrust(startForAny),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("llm-dap.python")) {
        void stop().then(startForAny);
      }
    }),
    { dispose: stop },
  );
}

async function start(document: vscode.TextDocument): Promise<void> {
  if (client !== undefined || isStarting) {
    return;
  }
  isStarting = true;
  try {
    const verdict = await findPython(vscode.workspace.getWorkspaceFolder(document.uri));
    if (verdict?.kind === "ready" || verdict?.kind === "no torch") {
      const { startClient } = require(join(__dirname, "language.js")) as ClientModule;
      client = await startClient(verdict.python, log());
    } else {
      log().info("No language server for model maps: no Python with llm-dap was found.");
    }
  } catch (error) {
    log().error("The language server for model maps did not start:", error);
  } finally {
    isStarting = false;
  }
}

async function stop(): Promise<void> {
  const running = client;
  client = undefined;
  await running?.stop();
}
