// "Edit Model Breakpoint…": VS Code's own box tells no extension what is typed into it, so this one checks by itself.

import * as vscode from "vscode";
import { knownFilters } from "../debug/filters";
import type { ToldFilter } from "../debug/toldFilters";
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
  kinds: readonly TextKind[];
  /** What the language server is told of where it stands. */
  stands: Pick<ConditionDiagnosticsArguments, "uri" | "line" | "path" | "phase" | "filter">;
  texts: Texts;
  /** Takes the texts in the place of what it had. */
  set(texts: Texts): void | Promise<void>;
}

type Item<T> = vscode.QuickPickItem & { value: T };

export async function editBreakpoint(argument: MenuArgument): Promise<void> {
  const meant = await meantLine(argument);
  await pickAndEdit((meant && targetsOn(meant)) ?? [...(await everyTarget()), ON_A_NAME]);
}

/** Of the filters of anomalies alone. */
export async function editFilter(): Promise<void> {
  const filters = knownFilters().map(filterTarget);
  if (filters.length === 0) {
    void vscode.window.showInformationMessage("Start a model (F5): then the filters that its debugger has are known.");
    return;
  }
  await pickAndEdit(filters, "Edit a filter");
}

async function pickAndEdit(targets: Target[], title = "Edit a model breakpoint"): Promise<void> {
  const target = await pickTarget(targets, title);
  if (target?.kinds.length === 0) {
    await target.set({});
    return;
  }
  const kind = target && (await pickText(target));
  await edit(target, kind);
}

/** A function breakpoint whose condition is typed, beginning with `condition`. */
export async function newBreakpoint(place: string, condition: string): Promise<void> {
  await edit(functionTarget(place), "condition", condition);
}

async function edit(target: Target | undefined, kind: TextKind | undefined, start?: string): Promise<void> {
  const text = target && kind && (await askText(target, kind, start));
  if (target && kind && text !== undefined) {
    await target.set({ ...target.texts, [kind]: text.trim() });
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

/** All breakpoints in maps, the function breakpoints, and the filters of anomalies. */
async function everyTarget(): Promise<Target[]> {
  const targets = vscode.debug.breakpoints.map(async (breakpoint) => {
    if (breakpoint instanceof vscode.FunctionBreakpoint) {
      return [functionTarget(breakpoint.functionName, breakpoint)];
    }
    if (!isInMap(breakpoint)) {
      return [];
    }
    const { uri, range } = breakpoint.location;
    const document = await vscode.workspace.openTextDocument(uri);
    return range.start.line < document.lineCount ? [mapTarget(breakpoint, { document, line: range.start.line })] : [];
  });
  return [...(await Promise.all(targets)).flat(), ...knownFilters().map(filterTarget)];
}

function mapTarget(breakpoint: vscode.SourceBreakpoint | undefined, on: MapLine): Target {
  const phase = breakpoint && phaseOf(breakpoint, on.document);
  const place = placeOn(on.document.lineAt(on.line).text)?.written ?? `line ${on.line + 1}`;
  return {
    name: phase === "after" ? `after ${place}` : place,
    texts: textsOf(breakpoint),
    kinds: ["condition", "hitCondition", "logMessage"],
    stands: { uri: on.document.uri.toString(), line: on.line, ...(phase && { phase }) },
    // Without a column the names in the texts say the phase, which a running session has filled in as a column.
    set: ({ condition, hitCondition, logMessage }) =>
      replace(
        breakpoint,
        new vscode.SourceBreakpoint(locationOn(on, phase ?? "before"), true, condition, hitCondition, logMessage),
      ),
  };
}

function functionTarget(path: string, breakpoint?: vscode.FunctionBreakpoint): Target {
  return {
    name: path,
    texts: textsOf(breakpoint),
    kinds: ["condition", "hitCondition"], // the protocol has no log message of a function breakpoint
    stands: { path },
    set: ({ condition, hitCondition }) =>
      replace(breakpoint, new vscode.FunctionBreakpoint(path, true, condition, hitCondition)),
  };
}

/** VS Code's own input for a new one stands below all filters, where it is mostly out of sight. */
const ON_A_NAME: Target = {
  name: "New breakpoint on a name…",
  kinds: [],
  stands: {},
  texts: {},
  set: async () => {
    const name = await vscode.window.showInputBox({
      title: "Name of the new breakpoint",
      placeHolder: "*.layers.3, after:model.layers.3.mlp, LlamaMLP, step, logits, sample",
      prompt: "A module path, a glob, a class, or a place of token selection",
    });
    if (name?.trim()) {
      replace(undefined, new vscode.FunctionBreakpoint(name.trim()));
    }
  },
};

/** VS Code lets no extension set a filter's condition: the checked text is copied, to be pasted where it belongs. */
function filterTarget({ id, label, condition }: ToldFilter): Target {
  return {
    name: `filter “${label}”`,
    texts: condition ? { condition } : {},
    kinds: ["condition"],
    stands: { filter: id },
    set: async (texts) => {
      await vscode.env.clipboard.writeText(texts.condition ?? "");
      await vscode.commands.executeCommand("workbench.debug.action.focusBreakpointsView");
      const what = texts.condition ? "The condition is copied. Paste it" : "Clear the text";
      void vscode.window.showInformationMessage(
        `${what} in the Breakpoints view, under the pencil (Edit Condition) of “${label}”: VS Code lets no extension do that.`,
      );
    },
  };
}

function textsOf(breakpoint: vscode.Breakpoint | undefined): Texts {
  const { condition, hitCondition, logMessage } = breakpoint ?? {};
  return { ...(condition && { condition }), ...(hitCondition && { hitCondition }), ...(logMessage && { logMessage }) };
}

async function pickTarget(targets: Target[], title: string): Promise<Target | undefined> {
  if (targets.length === 1) {
    return targets[0];
  }
  const items: Item<Target>[] = targets.map((value) => ({
    label: value.name,
    description: Object.values(value.texts).join("   "),
    value,
  }));
  return (await vscode.window.showQuickPick(items, { title }))?.value;
}

async function pickText({ kinds, texts, name }: Target): Promise<TextKind | undefined> {
  if (kinds.length === 1) {
    return kinds[0];
  }
  const items: Item<TextKind>[] = kinds.map((value) => ({
    label: TEXTS[value].label,
    description: texts[value] ?? TEXTS[value].explained,
    value,
  }));
  return (await vscode.window.showQuickPick(items, { title: `Breakpoint at ${name}` }))?.value;
}

/** The text that was typed and is right, empty to remove it; undefined when the person gave up. */
async function askText(target: Target, kind: TextKind, start?: string): Promise<string | undefined> {
  const before = target.texts[kind] ?? "";
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { row: Row }>();
  pick.title = `${TEXTS[kind].label} of the ${target.stands.filter ? "" : "breakpoint at "}${target.name}`;
  pick.placeholder = TEXTS[kind].example;
  pick.value = start ?? before;
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
