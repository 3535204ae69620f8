// Where the run stands: what panels and the editor follow.

import * as vscode from "vscode";
import { OUR_TYPE } from "./configuration";

/** A frame that is looked at, at a stop of one of our sessions. */
export interface Stop {
  session: vscode.DebugSession;
  threadId: number;
  frameId: number;
}

export type Standing =
  | { kind: "stopped"; stop: Stop }
  | { kind: "running"; session: vscode.DebugSession }
  | { kind: "ended" };

/** Follows the frame that is focused in the call stack, in sessions of ours. */
export class Stops implements vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<Standing>();
  /** Fires too when the debugger says that what it has told at this stop no longer holds. */
  readonly onDidChange = this.#changed.event;
  readonly #listeners: vscode.Disposable[];
  #standing: Standing = { kind: "ended" };

  constructor() {
    this.#listeners = [
      vscode.debug.onDidChangeActiveStackItem(() => this.#look()),
      vscode.debug.onDidChangeActiveDebugSession(() => this.#look()),
      vscode.debug.onDidTerminateDebugSession(() => this.#look()),
      vscode.debug.registerDebugAdapterTrackerFactory(OUR_TYPE, {
        createDebugAdapterTracker: (session) => ({
          onDidSendMessage: (message: { type?: string; event?: string }) => {
            if (message.type === "event" && message.event === "invalidated" && session === this.stop?.session) {
              this.#changed.fire(this.#standing); // what was told at this stop is to be asked for again
            }
          },
        }),
      }),
    ];
  }

  get standing(): Standing {
    return this.#standing;
  }

  get stop(): Stop | undefined {
    return this.#standing.kind === "stopped" ? this.#standing.stop : undefined;
  }

  /** Looks at a frame that is not the focused one, which no extension can change; until another one is focused. */
  lookAt(stop: Stop): void {
    this.#set({ kind: "stopped", stop });
  }

  #look(): void {
    const item = vscode.debug.activeStackItem;
    const session = item?.session ?? vscode.debug.activeDebugSession;
    if (session?.type !== OUR_TYPE) {
      this.#set({ kind: "ended" });
    } else if (item instanceof vscode.DebugStackFrame) {
      this.#set({ kind: "stopped", stop: { session, threadId: item.threadId, frameId: item.frameId } });
    } else {
      this.#set({ kind: "running", session });
    }
  }

  #set(standing: Standing): void {
    if (JSON.stringify(key(standing)) !== JSON.stringify(key(this.#standing))) {
      this.#standing = standing;
      this.#changed.fire(standing);
    }
  }

  dispose(): void {
    this.#changed.dispose();
    for (const listener of this.#listeners) {
      listener.dispose();
    }
  }
}

function key(standing: Standing): unknown[] {
  switch (standing.kind) {
    case "stopped":
      return [standing.stop.session.id, standing.stop.threadId, standing.stop.frameId];
    case "running":
      return [standing.session.id];
    case "ended":
      return [];
  }
}
