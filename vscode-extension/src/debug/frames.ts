// The frames that the debugger told the editor, which tells extensions no more of them than their numbers.

import * as vscode from "vscode";
import type { StackFrame } from "../protocol/messages";
import { OUR_TYPE } from "./configuration";
import { ToldFrames } from "./toldFrames";

const told = new Map<string, ToldFrames>();

/** A frame as it was told, by its number. */
export function frameOf(session: vscode.DebugSession, frameId: number): StackFrame | undefined {
  return told.get(session.id)?.byId(frameId);
}

/** What a menu of the call stack is opened on: VS Code hands over its own names of session, thread and frame. */
export interface FrameContext {
  sessionId: string;
  threadId: string;
  frameId: string;
  frameName: string;
}

/** The frame that a menu of the call stack was opened on, and its session. */
export function frameOfMenu(context: FrameContext | undefined): [vscode.DebugSession, StackFrame] | undefined {
  const session = vscode.debug.activeDebugSession;
  if (context === undefined || session?.id !== context.sessionId) {
    return undefined;
  }
  const frame = told.get(session.id)?.named(context.frameId, context.frameName);
  return frame && [session, frame];
}

export function registerFrames(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.debug.registerDebugAdapterTrackerFactory(OUR_TYPE, {
      createDebugAdapterTracker: (session) => {
        const frames = new ToldFrames();
        told.set(session.id, frames);
        return {
          onWillReceiveMessage: (message) => frames.asked(message),
          onDidSendMessage: (message) => frames.answered(message),
        };
      },
    }),
    vscode.debug.onDidTerminateDebugSession((session) => told.delete(session.id)),
  );
}
