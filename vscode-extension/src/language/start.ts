// Starts the language client when a map is opened, and not before: it is a bundle of its own.

import { join } from "node:path";
import * as vscode from "vscode";
import { findPython } from "../debug/python";
import { log } from "../log";
import type { LanguageServer } from "./client";

type ClientModule = typeof import("./client");

let running: Promise<LanguageServer | undefined> | undefined;

/** The language server, started if it does not run; undefined when it cannot. */
export async function languageServer(document?: vscode.TextDocument): Promise<LanguageServer | undefined> {
  running ??= start(document);
  const server = await running;
  if (server === undefined) {
    running = undefined; // what was missing may be there the next time
  }
  return server;
}

export function registerLanguage(context: vscode.ExtensionContext): void {
  const startFor = (document: vscode.TextDocument): void => {
    if (document.languageId === "llmmap" && vscode.workspace.isTrusted) {
      void languageServer(document);
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

async function start(document: vscode.TextDocument | undefined): Promise<LanguageServer | undefined> {
  if (!vscode.workspace.isTrusted) {
    return undefined;
  }
  try {
    const folder = document
      ? vscode.workspace.getWorkspaceFolder(document.uri)
      : vscode.workspace.workspaceFolders?.[0];
    const verdict = await findPython(folder);
    if (verdict?.kind === "ready" || verdict?.kind === "no torch") {
      const { startClient } = require(join(__dirname, "language.js")) as ClientModule;
      return await startClient(verdict.python, log());
    }
    log().info("No language server for model maps: no Python with llm-dap was found.");
  } catch (error) {
    log().error("The language server for model maps did not start:", error);
  }
  return undefined;
}

async function stop(): Promise<void> {
  const server = running;
  running = undefined;
  await (await server)?.stop();
}
