// Stops in the Python code of a program: which frames are Python's, and whether a model is called around them.

import * as vscode from "vscode";
import { log } from "../log";
import { ask } from "./asking";
import { frameOf } from "./frames";
import { isProgram } from "./programConfiguration";
import type { Stop, Stops } from "./stops";

export const OUTSIDE =
  "The program stands in Python code, and no model is being called. At the next stop in a model there is more.";

const asked = new WeakMap<Stop, Promise<boolean>>();

/** Whether a stop is in a program's own code, with no call of a model around it. Asked once at a stop. */
export function isOutside(stop: Stop): boolean | Promise<boolean> {
  if (!isProgram(stop.session.configuration)) {
    return false;
  }
  let found = asked.get(stop);
  if (found === undefined) {
    found = ask(stop.session, "llm/status", {}).then(
      (status) => status.isOutside ?? false,
      (error) => {
        log().debug("status:", error); // the run has gone on
        return false;
      },
    );
    asked.set(stop, found);
  }
  return found;
}

/** Whether the frame that is looked at is one of Python: nothing in it is a module of a model. */
export function isPythonFrame({ session, frameId }: Stop): boolean {
  return frameOf(session, frameId)?.canRestart === false;
}

/** Tells menus and buttons, which only know keys. */
export function registerPythonStops(context: vscode.ExtensionContext, stops: Stops): void {
  const set = (key: string, is: boolean): Thenable<unknown> =>
    vscode.commands.executeCommand("setContext", `llm.${key}`, is);
  const follow = async (): Promise<void> => {
    const { stop } = stops;
    if (stop === undefined && stops.standing.kind === "running") {
      return; // on the way from stop to stop menus stay as they are
    }
    void set("inPython", stop !== undefined && isPythonFrame(stop));
    const is = stop !== undefined && (await isOutside(stop));
    if (stop === stops.stop) {
      void set("isOutside", is);
    }
  };
  context.subscriptions.push(stops.onDidChange(() => void follow()));
}
