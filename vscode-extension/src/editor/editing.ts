// "Edit Model Breakpoint…": VS Code's own box tells no extension what is typed into it, so this one checks by itself.

import * as vscode from "vscode";
import { languageServer } from "../language/start";
import type { ConditionDiagnosticsArguments } from "../protocol/messages";
import {
  breakpointsIn,
  isInMap,
  locationOn,
  type MapLine,
  type MenuArgument,
  meantLine,
  phaseOf,
  replace,
  type Texts,
} from "./breakpoints";
import { placeOn } from "./lines";
import { type Row, suggestions, TEXTS, type TextKind, verdict } from "./wording";

/** A breakpoint to edit, or a place that gets one. */
interface Target {
  name: string;
  breakpoint: vscode.Breakpoint | undefined;
  kinds: readonly TextKind[];
  /** What the language server is told of where it stands. */
  stands: Pick<ConditionDiagnosticsArguments, "uri" | "line" | "path" | "phase">;
  with(texts: Texts): vscode.Breakpoint;
}

type Item<T> = vscode.QuickPickItem & { value: T };

export async function editBreakpoint(argument: MenuArgument): Promise<void> {
  const meant = await meantLine(argument);
  const targets = (meant && targetsOn(meant)) ?? (await everyTarget());
  if (targets.length === 0) {
    void vscode.window.showInformationMessage(
      "There is no breakpoint to edit: put the cursor on a module's line in a model map, or add a function breakpoint.",
    );
    return;
  }
  const target = await pickTarget(targets);
  const kind = target && (await pickText(target));
  const text = target && kind && (await askText(target, kind));
  if (target && kind && text !== undefined) {
    replace(target.breakpoint, target.with({ ...textsOf(target.breakpoint), [kind]: text.trim() }));
  }
}

/** The breakpoints on a line; a new one where there is none; undefined where nothing can stop. */
function targetsOn(meant: MapLine): Target[] | undefined {
  const found = breakpointsIn(meant.document.uri, meant.line);
  if (found.length > 0) {
    return found.map((breakpoint) => mapTarget(breakpoint, meant));
  }
  return placeOn(meant.document.lineAt(meant.line).text) ? [mapTarget(undefined, meant)] : undefined;
}

/** All breakpoints in maps, and the function breakpoints. */
async function everyTarget(): Promise<Target[]> {
  const targets = vscode.debug.breakpoints.map(async (breakpoint) => {
    if (breakpoint instanceof vscode.FunctionBreakpoint) {
      return [functionTarget(breakpoint)];
    }
    if (!isInMap(breakpoint)) {
      return [];
    }
    const { uri, range } = breakpoint.location;
    const document = await vscode.workspace.openTextDocument(uri);
    return range.start.line < document.lineCount ? [mapTarget(breakpoint, { document, line: range.start.line })] : [];
  });
  return (await Promise.all(targets)).flat();
}

function mapTarget(breakpoint: vscode.SourceBreakpoint | undefined, on: MapLine): Target {
  const phase = breakpoint && phaseOf(breakpoint, on.document);
  const place = placeOn(on.document.lineAt(on.line).text)?.written ?? `line ${on.line + 1}`;
  return {
    name: phase === "after" ? `after ${place}` : place,
    breakpoint,
    kinds: ["condition", "hitCondition", "logMessage"],
    stands: { uri: on.document.uri.toString(), line: on.line, ...(phase && { phase }) },
    // Without a column the names in the texts say the phase, which a running session has filled in as a column.
    with: ({ condition, hitCondition, logMessage }) =>
      new vscode.SourceBreakpoint(locationOn(on, phase ?? "before"), true, condition, hitCondition, logMessage),
  };
}

function functionTarget(breakpoint: vscode.FunctionBreakpoint): Target {
  return {
    name: breakpoint.functionName,
    breakpoint,
    kinds: ["condition", "hitCondition"], // the protocol has no log message of a function breakpoint
    stands: { path: breakpoint.functionName },
    with: ({ condition, hitCondition }) =>
      new vscode.FunctionBreakpoint(breakpoint.functionName, true, condition, hitCondition),
  };
}

function textsOf(breakpoint: vscode.Breakpoint | undefined): Texts {
  const { condition, hitCondition, logMessage } = breakpoint ?? {};
  return { ...(condition && { condition }), ...(hitCondition && { hitCondition }), ...(logMessage && { logMessage }) };
}

async function pickTarget(targets: Target[]): Promise<Target | undefined> {
  if (targets.length === 1) {
    return targets[0];
  }
  const items: Item<Target>[] = targets.map((value) => ({
    label: value.name,
    description: Object.values(textsOf(value.breakpoint)).join("   "),
    value,
  }));
  return (await vscode.window.showQuickPick(items, { title: "Edit a model breakpoint" }))?.value;
}

async function pickText(target: Target): Promise<TextKind | undefined> {
  const texts = textsOf(target.breakpoint);
  const items: Item<TextKind>[] = target.kinds.map((value) => ({
    label: TEXTS[value].label,
    description: texts[value] ?? TEXTS[value].explained,
    value,
  }));
  return (await vscode.window.showQuickPick(items, { title: `Breakpoint at ${target.name}` }))?.value;
}

/** The text that was typed and is right, empty to remove it; undefined when the person gave up. */
async function askText(target: Target, kind: TextKind): Promise<string | undefined> {
  const before = textsOf(target.breakpoint)[kind] ?? "";
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { row: Row }>();
  pick.title = `${TEXTS[kind].label} of the breakpoint at ${target.name}`;
  pick.placeholder = TEXTS[kind].example;
  pick.value = before;
  let asked = 0;
  const look = async (): Promise<void> => {
    const number = ++asked;
    const text = pick.value;
    pick.busy = true;
    const rows = await rowsFor(target, kind, text, before);
    if (number === asked) {
      pick.items = rows.map((row) => ({ ...row, iconPath: new vscode.ThemeIcon(row.icon), alwaysShow: true, row }));
      pick.activeItems = pick.items.slice(0, 1);
      pick.busy = false;
    }
  };
  pick.onDidChangeValue(look);
  const accepted = new Promise<string | undefined>((resolve) => {
    pick.onDidAccept(async () => {
      const chosen = pick.busy ? undefined : pick.activeItems[0]?.row;
      if (typeof chosen?.does === "object") {
        pick.value = chosen.does.insert;
        await look();
      } else if (chosen?.does === "set") {
        resolve(pick.value);
      } else if (pick.busy && (await rowsFor(target, kind, pick.value, before))[0]?.does === "set") {
        resolve(pick.value); // Enter came faster than what is said of the text
      }
    });
    pick.onDidHide(() => resolve(undefined));
  });
  pick.show();
  void look();
  const text = await accepted;
  pick.dispose();
  return text;
}

async function rowsFor(target: Target, kind: TextKind, text: string, before: string): Promise<Row[]> {
  const args = { text, kind, ...target.stands };
  const server = await languageServer();
  const [answer, names] = await Promise.all([
    server?.ask("llm/conditionDiagnostics", args).catch(() => undefined),
    server?.ask("llm/conditionCompletion", { ...args, column: text.length }).catch(() => undefined),
  ]);
  return [verdict(text, kind, before, answer), ...suggestions(text, names?.items ?? [])];
}
