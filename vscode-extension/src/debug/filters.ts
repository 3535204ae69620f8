// The filters of anomalies of the debugger: known as soon as a session has begun in this window.

import * as vscode from "vscode";
import { OUR_TYPE } from "./configuration";
import { type ToldFilter, ToldFilters } from "./toldFilters";

const told = new ToldFilters();

export function knownFilters(): readonly ToldFilter[] {
  return told.all;
}

export function registerFilters(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.debug.registerDebugAdapterTrackerFactory(OUR_TYPE, {
      createDebugAdapterTracker: () => ({
        onWillReceiveMessage: (message) => told.asked(message),
        onDidSendMessage: (message) => told.answered(message),
      }),
    }),
  );
}
