// Breakpoints as VS Code has them: they are found and replaced, since none can be changed.

import * as vscode from "vscode";
import { columnOf, type Phase, phaseAt, placeOn } from "./lines";
import type { TextKind } from "./wording";

export type Texts = Partial<Record<TextKind, string>>;

/** A line of a map that is meant by a command. */
export interface MapLine {
  document: vscode.TextDocument;
  line: number;
}

/** What the menus of an editor and of its line numbers hand to a command. */
export type MenuArgument = vscode.Uri | { uri: vscode.Uri; lineNumber: number } | undefined;

/** The line that is meant: of the line number that was clicked on, else of the cursor. */
export async function meantLine(argument: MenuArgument): Promise<MapLine | undefined> {
  if (argument !== undefined && "lineNumber" in argument) {
    return { document: await vscode.workspace.openTextDocument(argument.uri), line: argument.lineNumber - 1 };
  }
  const editor = vscode.window.activeTextEditor;
  return editor?.document.languageId === "llmmap"
    ? { document: editor.document, line: editor.selection.active.line }
    : undefined;
}

export function isInMap(breakpoint: vscode.Breakpoint): breakpoint is vscode.SourceBreakpoint {
  return breakpoint instanceof vscode.SourceBreakpoint && breakpoint.location.uri.path.endsWith(".llmmap");
}

/** Of a file, or of one line in it. */
export function breakpointsIn(uri: vscode.Uri, line?: number): vscode.SourceBreakpoint[] {
  return vscode.debug.breakpoints.filter(
    (each): each is vscode.SourceBreakpoint =>
      each instanceof vscode.SourceBreakpoint &&
      each.location.uri.toString() === uri.toString() &&
      (line === undefined || each.location.range.start.line === line),
  );
}

/** In which phase a breakpoint in a map stops, where its column says so. */
export function phaseOf(breakpoint: vscode.SourceBreakpoint, document: vscode.TextDocument): Phase | undefined {
  const { line, character } = breakpoint.location.range.start;
  return line < document.lineCount ? phaseAt(document.lineAt(line).text, character) : undefined;
}

/** Where a breakpoint on a line stands that stops before it or after it. */
export function locationOn({ document, line }: MapLine, phase: Phase): vscode.Location {
  return new vscode.Location(document.uri, new vscode.Position(line, columnOf(document.lineAt(line).text, phase)));
}

/** Puts a breakpoint in the place of another one; without one it is new. */
export function replace(old: vscode.Breakpoint | undefined, fresh: vscode.Breakpoint): void {
  if (old !== undefined) {
    vscode.debug.removeBreakpoints([old]);
  }
  vscode.debug.addBreakpoints([fresh]);
}

/** The same breakpoint elsewhere. */
export function moved(breakpoint: vscode.SourceBreakpoint, location: vscode.Location): vscode.SourceBreakpoint {
  const { enabled, condition, hitCondition, logMessage } = breakpoint;
  return new vscode.SourceBreakpoint(location, enabled, condition, hitCondition, logMessage);
}

/** Sets a breakpoint before or after the place on the line; one that is switched off is switched on. */
async function breakAt(argument: MenuArgument, phase: Phase): Promise<void> {
  const meant = await meantLine(argument);
  if (meant === undefined || placeOn(meant.document.lineAt(meant.line).text) === undefined) {
    void vscode.window.showInformationMessage("Put the cursor on the line of a module in a model map first.");
    return;
  }
  const there = breakpointsIn(meant.document.uri, meant.line).find(
    (each) => (phaseOf(each, meant.document) ?? "before") === phase,
  );
  if (there === undefined) {
    replace(undefined, new vscode.SourceBreakpoint(locationOn(meant, phase)));
  } else if (!there.enabled) {
    const { condition, hitCondition, logMessage, location } = there;
    replace(there, new vscode.SourceBreakpoint(location, true, condition, hitCondition, logMessage));
  }
}

export function registerBreakpoints(context: vscode.ExtensionContext): void {
  context.subscriptions.push(
    vscode.commands.registerCommand("llm.breakHere", (argument: MenuArgument) => breakAt(argument, "before")),
    vscode.commands.registerCommand("llm.breakAfterHere", (argument: MenuArgument) => breakAt(argument, "after")),
  );
}
