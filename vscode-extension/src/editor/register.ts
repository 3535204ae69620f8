// All that is seen in the editor of a map.

import * as vscode from "vscode";
import type { Anomalies } from "../debug/anomalies";
import type { Stops } from "../debug/stops";
import { AnomalyLine } from "./anomalyLine";
import { registerBreakpoints } from "./breakpoints";
import { breakWhenVariable } from "./breakWhen";
import type { Chosen } from "./breakWhenText";
import { editBreakpoint, editFilter } from "./editing";
import { PATH_UNDER_POINTER } from "./hovers";
import { InlineValues } from "./inlineValues";
import { registerMapCommands } from "./mapCommands";
import { openMap } from "./openMap";
import { registerPythonValues } from "./pythonValues";
import { showTensorHere } from "./tensors";

export function registerEditor(context: vscode.ExtensionContext, stops: Stops, anomalies: Anomalies): void {
  registerBreakpoints(context);
  registerMapCommands(context);
  registerPythonValues(context);
  context.subscriptions.push(
    new InlineValues(stops, anomalies),
    new AnomalyLine(anomalies, stops),
    vscode.languages.registerEvaluatableExpressionProvider({ language: "llmmap" }, PATH_UNDER_POINTER),
    vscode.commands.registerCommand("llm.breakWhen", (chosen?: Chosen) => breakWhenVariable(stops, chosen)),
    vscode.commands.registerCommand("llm.editBreakpoint", editBreakpoint),
    vscode.commands.registerCommand("llm.editFilter", editFilter),
    vscode.commands.registerCommand("llm.openMap", () => openMap(stops)),
    vscode.commands.registerTextEditorCommand("llm.showTensorHere", showTensorHere),
  );
}
