// Starts the debug adapter, and says why when it dies.

import * as vscode from "vscode";
import { log } from "../log";
import { OUR_TYPE, PYTHON_KEY } from "./configuration";

export class AdapterFactory implements vscode.DebugAdapterDescriptorFactory {
  createDebugAdapterDescriptor(session: vscode.DebugSession): vscode.DebugAdapterDescriptor {
    const { [PYTHON_KEY]: python, cwd } = session.configuration as Record<string, string | undefined>;
    if (python === undefined) {
      throw new Error("llm-dap does not know which Python to start; this is an error of the extension.");
    }
    const where = cwd ?? session.workspaceFolder?.uri.fsPath;
    return new vscode.DebugAdapterExecutable(python, ["-m", "dap_server", "adapter"], where ? { cwd: where } : {});
  }
}

/** Writes into the log what goes wrong between the editor and the adapter. */
export class AdapterLog implements vscode.DebugAdapterTrackerFactory {
  createDebugAdapterTracker(session: vscode.DebugSession): vscode.DebugAdapterTracker {
    return {
      onError: (error) => log().error(`${session.name}: ${error.message}`),
      onExit: (code, signal) => {
        if (code) {
          log().error(`${session.name}: the debug adapter ended with ${signal ?? code}`);
        }
      },
    };
  }
}

export function registerAdapter(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.debug.registerDebugAdapterDescriptorFactory(OUR_TYPE, new AdapterFactory()),
    vscode.debug.registerDebugAdapterTrackerFactory(OUR_TYPE, new AdapterLog()),
  );
}
