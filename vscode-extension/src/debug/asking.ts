// Typed requests to a session, which can be cancelled: VS Code tells nobody the number of a request that it sends, so it
// is read off the wire.

import * as vscode from "vscode";
import type { Requests } from "../protocol/messages";
import { OUR_TYPE } from "./configuration";
import { Numbers } from "./numbers";

const numbers = new Map<string, Numbers>();

export type Command = keyof Requests;

/**
 * The answer to a request; it fails with the debugger's words. The token cancels requests of our own (`llm/…`), which then
 * fail as `cancelled`; the editor sends the others too, so their numbers cannot be told apart.
 */
export async function ask<C extends Command>(
  session: vscode.DebugSession,
  command: C,
  args: Requests[C]["arguments"],
  token?: vscode.CancellationToken,
): Promise<Requests[C]["body"]> {
  const number = command.startsWith("llm/") ? numbersOf(session).expect(command) : undefined;
  const listener = token?.onCancellationRequested(async () => {
    const requestId = await number;
    if (requestId !== undefined) {
      session.customRequest("cancel", { requestId }).then(undefined, () => undefined);
    }
  });
  try {
    return (await session.customRequest(command, args)) as Requests[C]["body"];
  } finally {
    listener?.dispose();
  }
}

function numbersOf(session: vscode.DebugSession): Numbers {
  let found = numbers.get(session.id);
  if (found === undefined) {
    found = new Numbers();
    numbers.set(session.id, found);
  }
  return found;
}

export function registerAsking(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.debug.registerDebugAdapterTrackerFactory(OUR_TYPE, {
      createDebugAdapterTracker: (session) => ({
        onWillReceiveMessage: (message: { type?: string; command?: string; seq?: number }) => {
          if (message.type === "request" && message.command !== undefined && message.seq !== undefined) {
            numbersOf(session).sent(message.command, message.seq);
          }
        },
      }),
    }),
    vscode.debug.onDidTerminateDebugSession((session) => numbers.delete(session.id)),
  );
}
