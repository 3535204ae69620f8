// All that concerns starting and following a session.

import * as vscode from "vscode";
import { log } from "../log";
import { registerAdapter } from "./adapter";
import { registerAsking } from "./asking";
import { registerConfiguration } from "./configuration";
import { registerExample } from "./example";
import { registerFilters } from "./filters";
import { registerFrames } from "./frames";
import { registerMoving } from "./moving";
import { registerPicking } from "./picking";
import { registerPrograms } from "./programs";
import { choosePython } from "./python";
import { registerPythonStops } from "./pythonStops";
import { Stops } from "./stops";

export function registerDebugging(context: vscode.ExtensionContext): Stops {
  registerAdapter(context);
  registerAsking(context);
  registerConfiguration(context);
  registerExample(context);
  registerFilters(context);
  registerFrames(context);
  registerPicking(context);
  registerPrograms(context);
  const stops = new Stops();
  registerMoving(context, stops);
  registerPythonStops(context, stops);
  context.subscriptions.push(
    stops,
    vscode.commands.registerCommand("llm.choosePython", () => choosePython(vscode.workspace.workspaceFolders?.[0])),
    vscode.commands.registerCommand("llm.showLog", () => log().show()),
  );
  return stops;
}
