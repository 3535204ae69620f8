// Values beside the visible lines of a map: at once what is held, the rest when the debugger has worked it out.
//
// They are decorations. VS Code's inline values are asked for once at a stop and never again, whatever a provider tells
// (`onDidChangeInlineValues` is heard by nobody), and stand at the end of a line, where a map is wider than the window.

import * as vscode from "vscode";
import type { Anomalies } from "../debug/anomalies";
import { ask } from "../debug/asking";
import type { Standing, Stop, Stops } from "../debug/stops";
import { log } from "../log";
import type { InlineValue } from "../protocol/messages";
import { fieldsOf, writtenAs } from "./lines";
import { mapOf } from "./sources";
import { inlineText, inlineWords, VALUE_WIDTH } from "./wording";

const SETTING = "llm-dap.inlineValues";
/** Lines above and below the visible ones that get values as well, so that nothing jumps while one scrolls. */
const MARGIN = 60;
/** How long values outlive their stop, in milliseconds: a step is mostly shorter. */
const LINGER = 150;

/** What is known of the frame that is looked at. */
interface Held extends Stop {
  map: vscode.Uri;
  values: Map<string, InlineValue | undefined>;
  isComplete: boolean;
  cancellation: vscode.CancellationTokenSource;
}

/** The values of one frame at a time, as a column behind the paths of the map that the session uses. */
export class InlineValues implements vscode.Disposable {
  readonly #decoration = vscode.window.createTextEditorDecorationType({});
  readonly #listeners: vscode.Disposable[];
  #held: Held | undefined;
  #clearing: NodeJS.Timeout | undefined;

  constructor(
    private readonly stops: Stops,
    private readonly anomalies: Anomalies,
  ) {
    this.#listeners = [
      anomalies.onDidChange(() => this.#draw()),
      stops.onDidChange((standing) => this.#follow(standing)),
      vscode.window.onDidChangeVisibleTextEditors(() => this.#look()),
      vscode.window.onDidChangeTextEditorVisibleRanges(({ textEditor }) => isMap(textEditor) && this.#look()),
      vscode.workspace.onDidChangeTextDocument(({ document }) => document.languageId === "llmmap" && this.#look()),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SETTING)) {
          this.#follow(stops.standing);
        }
      }),
    ];
  }

  #follow(standing: Standing): void {
    this.#held?.cancellation.cancel();
    clearTimeout(this.#clearing);
    if (standing.kind === "stopped" && isWanted()) {
      void this.#start(standing.stop);
    } else if (standing.kind === "running" && isWanted()) {
      this.#clearing = setTimeout(() => {
        this.#held?.values.clear();
        this.#draw();
      }, LINGER);
    } else {
      this.#held = undefined;
      this.#draw();
    }
  }

  async #start(stop: Stop): Promise<void> {
    const map = await mapOf(stop.session).catch(() => undefined);
    if (stop !== this.stops.stop) {
      return;
    }
    const cancellation = new vscode.CancellationTokenSource();
    this.#held = map === undefined ? undefined : { ...stop, map, values: new Map(), isComplete: false, cancellation };
    await this.#look();
    const held = this.#held;
    if (held && !held.isComplete && !cancellation.token.isCancellationRequested) {
      await this.#ask(held, this.#pathsInView(held), true);
    }
    if (held && held === this.#held) {
      editorsOf(held.map).forEach(showPaths);
    }
  }

  /** Asks for what has come into view, and draws. */
  async #look(): Promise<void> {
    const held = this.#held;
    const unknown = held ? this.#pathsInView(held).filter((path) => !held.values.has(path)) : [];
    if (held && unknown.length > 0 && !held.cancellation.token.isCancellationRequested) {
      await this.#ask(held, unknown, false);
    } else {
      this.#draw();
    }
  }

  async #ask(held: Held, paths: string[], wait: boolean): Promise<void> {
    const { session, frameId, cancellation } = held;
    if (paths.length === 0) {
      return;
    }
    try {
      const answer = await ask(session, "llm/inlineValues", { frameId, paths, wait }, cancellation.token);
      if (answer.isComplete) {
        held.isComplete = true;
        for (const path of paths) {
          held.values.set(path, undefined); // those without a value are asked for no more
        }
      }
      for (const value of answer.values) {
        held.values.set(value.path, value);
      }
    } catch (error) {
      log().debug("inline values:", error); // cancelled, or a frame in which nothing runs
    }
    if (held === this.#held && !cancellation.token.isCancellationRequested) {
      this.#draw();
    }
  }

  #pathsInView(held: Held): string[] {
    const paths = editorsOf(held.map).flatMap((editor) =>
      linesIn(editor).flatMap((line) => fieldsOf(line.text)?.place.written ?? []),
    );
    return [...new Set(paths)];
  }

  #draw(): void {
    const held = this.#held;
    const place = this.anomalies.present?.place; // beside which it is said what was found
    const taken = place && writtenAs(place.path);
    for (const editor of vscode.window.visibleTextEditors.filter(isMap)) {
      const isShown = held !== undefined && editor.document.uri.path === held.map.path;
      editor.setDecorations(
        this.#decoration,
        isShown ? linesIn(editor).flatMap((line) => decorationOf(line, held.values, taken)) : [],
      );
    }
  }

  dispose(): void {
    clearTimeout(this.#clearing);
    this.#held?.cancellation.cancel();
    this.#decoration.dispose();
    vscode.Disposable.from(...this.#listeners).dispose();
  }
}

function isWanted(): boolean {
  return vscode.workspace.getConfiguration().get<boolean>(SETTING, true);
}

function isMap(editor: vscode.TextEditor): boolean {
  return editor.document.languageId === "llmmap";
}

function editorsOf(map: vscode.Uri): vscode.TextEditor[] {
  return vscode.window.visibleTextEditors.filter((editor) => isMap(editor) && editor.document.uri.path === map.path);
}

/** A stop behind a module stands at the end of its line, to which VS Code scrolls: the paths would be out of sight. */
function showPaths(editor: vscode.TextEditor): void {
  const { line, character } = editor.selection.active;
  if (character > 0 && character === editor.document.lineAt(line).text.length) {
    editor.revealRange(new vscode.Range(line, 0, line, 0));
  }
}

/** The visible lines, and some around them. */
function linesIn(editor: vscode.TextEditor): vscode.TextLine[] {
  const numbers = new Set<number>();
  for (const range of editor.visibleRanges) {
    const last = Math.min(range.end.line + MARGIN, editor.document.lineCount - 1);
    for (let number = Math.max(range.start.line - MARGIN, 0); number <= last; number++) {
      numbers.add(number);
    }
  }
  return [...numbers].map((number) => editor.document.lineAt(number));
}

/** Lines without a value get an empty column, so that what stands behind it stays aligned. */
function decorationOf(
  line: vscode.TextLine,
  values: ReadonlyMap<string, InlineValue | undefined>,
  taken: string | undefined,
): vscode.DecorationOptions[] {
  const fields = fieldsOf(line.text);
  if (fields === undefined || fields.place.written === taken) {
    return [];
  }
  const value = values.get(fields.place.written);
  const text = value && inlineText(value);
  const at = new vscode.Range(line.lineNumber, fields.next, line.lineNumber, fields.next);
  return [
    {
      range: at,
      ...(value && text && { hoverMessage: inlineWords(value) }),
      renderOptions: {
        before: {
          contentText: (text ?? "").replaceAll(" ", "\u00a0"),
          width: `${VALUE_WIDTH}ch`,
          color: new vscode.ThemeColor("editor.inlineValuesForeground"),
        },
      },
    },
  ];
}
